package storetest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/checkpoint"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
)

func TestACheckpointIsSavedByWhoKnowsIt(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		c := checkpoint.New(checkpoint.Options{Store: s.Checkpoints()})
		key := checkpoint.Key{EnvironmentID: 1, ConnectionID: 7, Name: "sync:contacts:base"}
		save := func(fields string, version int64) (int64, error) {
			return c.Save(ctx, key, json.RawMessage(fields), version)
		}
		want := func(fields string, version int64) {
			t.Helper()
			got, err := c.Get(ctx, key)
			if err != nil || string(got.Fields) != fields || got.Version != version {
				t.Errorf("stored is %s at version %d, want %s at %d (%v)", got.Fields, got.Version, fields, version, err)
			}
		}
		want("", 0)
		if version, err := c.Clear(ctx, key, 0); version != 0 || err != nil {
			t.Errorf("clearing nothing gives version %d, %v", version, err)
		}
		if _, err := save(`{"page":1}`, 3); !errors.Is(err, checkpoint.ErrConflict) {
			t.Errorf("a save over a version that never was: %v", err)
		}
		if version, err := save(`{"page":1,"done":false,"at":"x"}`, 0); version != 1 || err != nil {
			t.Errorf("the first version is %d (%v)", version, err)
		}
		for _, stale := range []int64{0, 2} {
			if _, err := save(`{"page":2}`, stale); !errors.Is(err, checkpoint.ErrConflict) {
				t.Errorf("a save over version %d instead of 1: %v", stale, err)
			}
		}
		want(`{"page":1,"done":false,"at":"x"}`, 1)
		if version, err := save(`{"page":2}`, 1); version != 2 || err != nil {
			t.Errorf("the second version is %d (%v)", version, err)
		}
		if _, err := c.Clear(ctx, key, 1); !errors.Is(err, checkpoint.ErrConflict) {
			t.Errorf("a clear over a stale version: %v", err)
		}
		for range 2 {
			if version, err := c.Clear(ctx, key, 2); version != 3 || err != nil {
				t.Errorf("a clear gives version %d (%v)", version, err)
			}
			want("", 3)
		}
		if _, err := save(`{"page":9}`, 0); !errors.Is(err, checkpoint.ErrConflict) {
			t.Errorf("a cleared checkpoint forgot its version: %v", err)
		}
		if version, err := save(`{"page":9}`, 3); version != 4 || err != nil {
			t.Errorf("after a clear the version is %d (%v)", version, err)
		}
		stranger := key
		stranger.EnvironmentID = 2
		if got, err := c.Get(ctx, stranger); err != nil || got.Fields != nil {
			t.Errorf("another environment reads %s (%v)", got.Fields, err)
		}
	})
}

func TestAResetForgetsWhatIsBelow(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		c := checkpoint.New(checkpoint.Options{Store: s.Checkpoints()})
		names := []string{"sync:a:base", "sync:a:base:trackDeletes:M", "sync:a:base2", "sync:a", "sync:a%base", "action:a"}
		for _, name := range names {
			for _, connection := range []int64{7, 8} {
				if _, err := c.Save(ctx, checkpoint.Key{EnvironmentID: 1, ConnectionID: connection, Name: name}, json.RawMessage(`{}`), 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		n, err := c.Reset(ctx, checkpoint.Key{EnvironmentID: 1, ConnectionID: 7, Name: "sync:a:base"})
		if n != 2 || err != nil {
			t.Errorf("%d checkpoints were forgotten, want 2 (%v)", n, err)
		}
		for i, name := range names {
			got, err := c.Get(ctx, checkpoint.Key{EnvironmentID: 1, ConnectionID: 7, Name: name})
			if gone := got.Version == 0; err != nil || gone != (i < 2) {
				t.Errorf("%s is gone: %t (%v)", name, gone, err)
			}
		}
		if got, err := c.Get(ctx, checkpoint.Key{EnvironmentID: 1, ConnectionID: 8, Name: names[0]}); err != nil || got.Version != 1 {
			t.Errorf("another connection lost its checkpoint (%v)", err)
		}
	})
}

func TestACheckpointIsSmallAndFlat(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t, storetest.SQLite(t))
	c := checkpoint.New(checkpoint.Options{Store: s.Checkpoints()})
	fields := func(n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf(`"f%d":%d`, i, i)
		}
		return "{" + strings.Join(all, ",") + "}"
	}
	text := func(n int) string { return `{"a":"` + strings.Repeat("é", n) + `"}` }
	named := func(n int) string { return `{"` + strings.Repeat("é", n) + `":1}` }
	for i, test := range []struct {
		fields string
		ok     bool
	}{
		{`{}`, true},
		{fields(16), true},
		{fields(17), false},
		{text(4000), true},
		{text(4001), false},
		{named(255), true},
		{named(256), false},
		{`{"a":true,"b":-1.5,"c":""}`, true},
		{`{"a":null}`, false},
		{`{"a":{}}`, false},
		{`{"a":[]}`, false},
		{`[]`, false},
		{`null`, false},
		{`"x"`, false},
		{`{`, false},
		{``, false},
	} {
		key := checkpoint.Key{EnvironmentID: 1, ConnectionID: int64(i), Name: "sync:a:base"}
		_, err := c.Save(t.Context(), key, json.RawMessage(test.fields), 0)
		if ok := err == nil; ok != test.ok || !ok && errs.Code(err) != "invalid_body" {
			t.Errorf("%.40s: %v", test.fields, err)
		}
	}
	for _, name := range []string{"", strings.Repeat("x", 256)} {
		if _, err := c.Save(t.Context(), checkpoint.Key{EnvironmentID: 1, ConnectionID: 1, Name: name}, json.RawMessage(`{}`), 0); errs.Code(err) != "invalid_body" {
			t.Errorf("a key of %d characters: %v", len(name), err)
		}
	}
}
