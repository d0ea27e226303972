package engine

import (
	"encoding/json"
	"strings"
	"time"
)

// Micros is how a time is stored: microseconds since 1970, UTC. The zero time is 0.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time reads what Micros wrote.
func Time(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

func appendJSONString(b *strings.Builder, s string) {
	text, err := json.Marshal(s)
	if err != nil { // a string always marshals
		panic(err)
	}
	b.Write(text)
}
