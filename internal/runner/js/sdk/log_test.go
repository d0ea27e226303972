package sdk_test

import (
	"strings"
	"testing"
)

func TestLogLinesBelowTheThresholdAreDropped(t *testing.T) {
	t.Parallel()
	const all = "for (const level of ['debug', 'info', 'warn', 'error']) await nango.log(level, {level}); return nango.logger.level"
	tests := []struct{ threshold, setLogger, want, now string }{
		{"", "", "info warn error", "info"},
		{"debug", "", "debug info warn error", "debug"},
		{"warn", "", "warn error", "warn"},
		{"error", "", "error", "error"},
		{"off", "", "", "off"},
		{"nonsense", "", "info warn error", "info"},
		{"error", "debug", "debug info warn error", "debug"},
		{"info", "off", "", "off"},
		{"off", "debug", "", "off"},
		{"warn", "loud", "warn error", "warn"},
	}
	for _, tt := range tests {
		t.Run(tt.threshold+" then "+tt.setLogger, func(t *testing.T) {
			t.Parallel()
			code := all
			if tt.setLogger != "" {
				code = "nango.setLogger({level: '" + tt.setLogger + "'}); " + all
			}
			res := action(t, nil, code, map[string]any{"loggerLevel": tt.threshold})
			wantOutput(t, res, `"`+tt.now+`"`)
			var got []string
			for _, line := range res.of("log") {
				if line["level"] != line["message"] {
					t.Errorf("line %v", line)
				}
				got = append(got, line["level"].(string))
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("logged %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLogArguments(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, args, want string }{
		{"a message", `'hi'`, `{"level":"info","message":"hi"}`},
		{"a message and its level", `'hi', {level: 'error'}`, `{"level":"error","message":"hi"}`},
		{"a payload", `'hi', {b: 1, a: 2}`, `{"level":"info","message":"hi","meta":{"a":2,"b":1}}`},
		{"a payload and a level", `'hi', {a: 1}, {level: 'warn'}`, `{"level":"warn","message":"hi","meta":{"a":1}}`},
		{"an older level", `'hi', {level: 'http'}`, `{"level":"info","message":"hi"}`},
		{"an unknown level", `'hi', {level: 'loud'}`, `{"level":"info","message":"hi"}`},
		{"off is no level of a line", `'hi', {level: 'off'}`, `{"level":"info","message":"hi"}`},
		{"a list as payload", `'hi', ['x', {y: 1}]`, `{"level":"info","message":"hi","meta":{"0":"x","1":{"y":1}}}`},
		{"a scalar as payload", `'hi', 5`, `{"level":"info","message":"hi","meta":{"0":5}}`},
		{"several payloads", `'hi', 5, 'x', {z: 1}`, `{"level":"info","message":"hi","meta":{"0":5,"1":"x","2":{"z":1}}}`},
		{"null as payload", `'hi', null`, `{"level":"info","message":"hi"}`},
		{"an object as message", `{b: 1, a: {d: 1, c: 2}}`, `{"level":"info","message":"{\"a\":{\"c\":2,\"d\":1},\"b\":1}"}`},
		{"an object with a level is message and level", `{level: 'error', why: 'x'}`, `{"level":"error","message":"{\"level\":\"error\",\"why\":\"x\"}"}`},
		{"an Error as message", `new Error('boom')`, `{"level":"info","message":"{\"message\":\"boom\",\"name\":\"Error\"}"}`},
		{"an Error as payload", `'hi', new TypeError('boom')`, `{"level":"info","message":"hi","meta":{"message":"boom","name":"TypeError"}}`},
		{"a Date as payload", `'hi', new Date(0)`, `{"level":"info","message":"hi","meta":{"0":"1970-01-01T00:00:00.000Z"}}`},
		{"undefined", `undefined`, `{"level":"info","message":"undefined"}`},
		{"secrets", `'hi', {authorization: 'x', stack: 's'}`, `{"level":"info","message":"hi","meta":{"authorization":"[Redacted]"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := action(t, nil, "await nango.log("+tt.args+")", map[string]any{"loggerLevel": "debug"})
			wantOutput(t, res, `null`)
			wantEqual(t, res.of("log")[0], tt.want)
		})
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	t.Parallel()
	res := action(t, nil, "await nango.log('é'.repeat(60000)); await nango.log('e'.repeat(99000));")
	wantOutput(t, res, `null`)
	logs := res.of("log")
	if got, want := logs[0]["message"], strings.Repeat("é", 49_500)+"... (truncated)"; got != want {
		t.Errorf("message of %d bytes ends in %q", len(got.(string)), got.(string)[len(got.(string))-30:])
	}
	if got := logs[1]["message"].(string); len(got) != 99_000 {
		t.Errorf("message of exactly the limit has %d bytes", len(got))
	}
}

func TestAFunctionDoesNotFailBecauseItsLogLineDid(t *testing.T) {
	t.Parallel()
	h := host{"log": always(refusal{"code": "script_aborted", "message": "m"})}
	wantOutput(t, action(t, h, "await nango.log('x'); await nango.log('y', {get a() { throw new Error('no'); }}); return 'done'"), `"done"`)
}
