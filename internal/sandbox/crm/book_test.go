package crm_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/patchbay-dev/patchbay/internal/sandbox/crm"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// all pages through the book by number.
func all(b *crm.Book, limit int, since time.Time) []crm.Contact {
	var out []crm.Contact
	for after, more := 0, true; more; {
		var page []crm.Contact
		page, after, more = b.After(after, limit, since)
		out = append(out, page...)
	}
	return out
}

func TestTheSeedDecidesEverything(t *testing.T) {
	t.Parallel()
	small, large := all(crm.NewBook(1, 20), 7, time.Time{}), all(crm.NewBook(1, 300), 100, time.Time{})
	if len(small) != 20 || len(large) != 300 {
		t.Fatalf("%d and %d contacts", len(small), len(large))
	}
	if diff := cmp.Diff(small, large[:20]); diff != "" {
		t.Errorf("the count changed the data:\n%s", diff)
	}
	if cmp.Equal(small, all(crm.NewBook(2, 20), 7, time.Time{})) {
		t.Error("another seed gives the same data")
	}
	mails := map[string]bool{}
	for _, c := range large {
		mails[c.Email] = true
		if c.UpdatedAt.Before(c.CreatedAt) || c.CreatedAt.Nanosecond()%1e6 != 0 || !strings.HasSuffix(c.Email, ".example") {
			t.Errorf("odd contact %+v", c)
		}
	}
	if len(mails) != 300 {
		t.Errorf("%d different addresses for 300 contacts", len(mails))
	}
	if diff := cmp.Diff(crm.SeededDeal(1, 3, 20), crm.SeededDeal(1, 3, 20)); diff != "" {
		t.Error(diff)
	}
}

func TestTouchChangesEachOnceBeforeAnyTwice(t *testing.T) {
	t.Parallel()
	b := crm.NewBook(1, 10)
	before := map[string]crm.Contact{}
	for _, c := range all(b, 100, time.Time{}) {
		before[c.ID] = c
	}
	if _, ok := b.Remove("con_000004", now); !ok {
		t.Fatal("nothing removed")
	}
	touched := append(b.Touch(5, now), b.Touch(4, now)...)
	seen := map[string]bool{}
	for _, c := range touched {
		if seen[c.ID] || c.Deleted {
			t.Errorf("%s was touched twice or is deleted", c.ID)
		}
		seen[c.ID] = true
		old := before[c.ID]
		if c.Phone == old.Phone || !c.UpdatedAt.After(old.UpdatedAt) {
			t.Errorf("%s did not change", c.ID)
		}
		old.Phone, old.UpdatedAt = c.Phone, c.UpdatedAt
		if diff := cmp.Diff(old, c); diff != "" {
			t.Errorf("more than the phone changed:\n%s", diff)
		}
	}
	if len(seen) != 9 {
		t.Errorf("%d touched, want all 9", len(seen))
	}
	again := b.Touch(1, now)[0]
	if first, _ := b.Find(again.ID); !again.UpdatedAt.After(now) || first != again {
		t.Error("updated_at must grow although the clock stands still")
	}
	if got := b.Touch(99, now); len(got) != 9 {
		t.Errorf("touched %d of 9", len(got))
	}
	if got := crm.NewBook(1, 0).Touch(3, now); len(got) != 0 {
		t.Errorf("touched %d in an empty book", len(got))
	}
}

func TestATombstoneShowsOnlyToThoseWhoAskForChanges(t *testing.T) {
	t.Parallel()
	b := crm.NewBook(1, 10)
	gone, ok := b.Remove("con_000003", now)
	if !ok || !gone.Deleted || !gone.UpdatedAt.Equal(now) {
		t.Fatalf("removed %+v, %v", gone, ok)
	}
	if _, ok := b.Remove("con_000003", now); ok {
		t.Error("removed twice")
	}
	if _, ok := b.Find("con_000003"); ok {
		t.Error("found a removed contact")
	}
	if _, _, changed := b.Change("con_000003", crm.Input{Phone: new("1")}, now); changed {
		t.Error("changed a removed contact")
	}
	if got := len(all(b, 4, time.Time{})); got != 9 {
		t.Errorf("the plain listing has %d, want 9", got)
	}
	if diff := cmp.Diff([]crm.Contact{gone}, all(b, 4, now)); diff != "" {
		t.Errorf("changes since the removal:\n%s", diff)
	}
	if got := all(b, 4, now.Add(time.Millisecond)); len(got) != 0 {
		t.Errorf("changes after the removal: %v", got)
	}
	page, total := b.At(0, 100)
	if len(page) != 9 || total != 9 {
		t.Errorf("by offset %d of %d", len(page), total)
	}
}

func TestInputIsValidated(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in    crm.Input
		field string
	}{
		"nothing":           {crm.Input{}, "email"},
		"no address":        {crm.Input{Email: new("robin")}, "email"},
		"address with name": {crm.Input{Email: new("Robin <r@acme.example>")}, "email"},
		"too long":          {crm.Input{FirstName: new(strings.Repeat("ä", 257))}, "first_name"},
	} {
		b := crm.NewBook(1, 0)
		if _, wrong, fits := b.Create(tc.in, now); fits || wrong[tc.field] == "" {
			t.Errorf("%s: created, or no word on %s: %v", name, tc.field, wrong)
		}
		if _, total := b.At(0, 1); total != 0 {
			t.Errorf("%s: the invalid contact is there", name)
		}
	}
	b := crm.NewBook(1, 1)
	before, _ := b.Find("con_000001")
	if _, wrong, changed := b.Change("con_000001", crm.Input{Email: new("x"), Phone: new("1")}, now); changed || wrong["email"] == "" {
		t.Error("an invalid change was taken")
	}
	if after, _ := b.Find("con_000001"); after != before {
		t.Error("an invalid change left traces")
	}
	if c, _, fits := b.Create(crm.Input{LastName: new(strings.Repeat("ä", 256))}, now); !fits || c.ID != "con_1000001" {
		t.Errorf("created %+v, %v", c, fits)
	}
	for _, id := range []string{"con_1", "con_0000001", "000001", "con_-00001", ""} {
		if _, ok := b.Find(id); ok {
			t.Errorf("found %q", id)
		}
	}
}

func TestRestoreRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	for _, bad := range []crm.Saved{
		{Created: -1}, {Touches: -1}, {Contacts: []crm.Contact{{ID: "x"}}}, {Contacts: []crm.Contact{{ID: "con_000000"}}},
		{Contacts: []crm.Contact{{ID: "con_1000002"}}, Created: 1},
	} {
		if err := crm.NewBook(1, 3).Restore(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// Whatever happens while a client pages, it sees each contact that lived all the time exactly once; and a book that was
// saved and restored is the same book.
func TestPagingVisitsEachContactOnceDuringChanges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(0, 30).Draw(t, "count")
		b := crm.NewBook(1, count)
		stable := map[string]bool{}
		for _, c := range all(b, 100, time.Time{}) {
			stable[c.ID] = true
		}
		visits := map[string]int{}
		for after, more := 0, true; more; {
			var page []crm.Contact
			page, after, more = b.After(after, rapid.IntRange(1, 5).Draw(t, "limit"), time.Time{})
			for _, c := range page {
				visits[c.ID]++
			}
			id := fmt.Sprintf("con_%06d", rapid.IntRange(1, 30).Draw(t, "id"))
			switch rapid.SampledFrom([]string{"create", "change", "remove", "touch"}).Draw(t, "change") {
			case "create":
				if len(visits) < 60 { // else the listing would never end
					b.Create(crm.Input{LastName: new("New")}, now)
				}
			case "change":
				b.Change(id, crm.Input{Company: new("Elsewhere")}, now)
			case "remove":
				b.Remove(id, now)
				delete(stable, id)
			case "touch":
				b.Touch(3, now)
			}
		}
		for id, n := range visits {
			if n != 1 {
				t.Fatalf("%s was visited %d times", id, n)
			}
		}
		for id := range stable {
			if visits[id] != 1 {
				t.Fatalf("%s was missed", id)
			}
		}
		offsets := map[string]bool{}
		_, total := b.At(0, 1)
		for offset := 0; offset < total; offset += 4 {
			page, _ := b.At(offset, 4)
			for _, c := range page {
				offsets[c.ID] = true
			}
		}
		live := all(b, 9, time.Time{})
		if len(offsets) != total || len(live) != total {
			t.Fatalf("%d by offset, %d by number, total %d", len(offsets), len(live), total)
		}

		body, err := json.Marshal(b.Saved())
		if err != nil {
			t.Fatal(err)
		}
		var saved crm.Saved
		if err := json.Unmarshal(body, &saved); err != nil {
			t.Fatal(err)
		}
		back := crm.NewBook(1, count)
		if err := back.Restore(saved); err != nil {
			t.Fatal(err)
		}
		everything := time.Unix(1, 0)
		if diff := cmp.Diff(all(b, 9, everything), all(back, 9, everything)); diff != "" {
			t.Fatalf("restored differently:\n%s", diff)
		}
		if diff := cmp.Diff(b.Touch(2, now), back.Touch(2, now)); diff != "" {
			t.Fatalf("goes on differently:\n%s", diff)
		}
		if _, restored := back.At(0, 1); restored != total {
			t.Fatalf("total %d after restore, want %d", restored, total)
		}
	})
}
