package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/sandbox"
)

type contact struct {
	ID        string    `json:"id"`
	FirstName string    `json:"first_name"`
	LastName  string    `json:"last_name"`
	Email     string    `json:"email"`
	Company   string    `json:"company"`
	Phone     string    `json:"phone"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Deleted   bool      `json:"deleted"`
}

// byCursor reads a whole cursor listing.
func byCursor(t testing.TB, a acme, path string) []contact {
	t.Helper()
	var all []contact
	for cursor := ""; ; {
		var page struct {
			Data       []contact `json:"data"`
			NextCursor *string   `json:"next_cursor"`
		}
		a.keyed("GET", path+"&cursor="+url.QueryEscape(cursor), nil).into(t, 200, &page)
		all = append(all, page.Data...)
		if page.NextCursor == nil {
			return all
		}
		cursor = *page.NextCursor
	}
}

func byOffset(t testing.TB, a acme, limit int) []contact {
	t.Helper()
	var all []contact
	for {
		var page struct {
			Data  []contact
			Total int
		}
		a.keyed("GET", fmt.Sprintf("/v1/contacts/offset?offset=%d&limit=%d", len(all), limit), nil).into(t, 200, &page)
		if all = append(all, page.Data...); len(all) >= page.Total {
			return all
		}
	}
}

var nextLink = regexp.MustCompile(`<([^>]+)>; rel="next"`)

// byLink follows Link headers as a client does, through the mount point if there is one.
func byLink(t testing.TB, serve http.Handler, first string) []contact {
	t.Helper()
	var all []contact
	for next := first; ; {
		r := httptest.NewRequest("GET", next, nil)
		r.Header.Set("X-Api-Key", sandbox.DefaultAPIKey)
		w := httptest.NewRecorder()
		serve.ServeHTTP(w, r)
		var page []contact
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
			t.Fatalf("%s: %d %s", next, w.Code, w.Body)
		}
		all = append(all, page...)
		m := nextLink.FindStringSubmatch(w.Header().Get("Link"))
		if m == nil {
			return all
		}
		next = m[1]
	}
}

func TestEveryPaginationGivesEachContactOnce(t *testing.T) {
	t.Parallel()
	for _, count := range []int{-1, 1, 50, 100, 101, 250} {
		a := start(t, sandbox.Options{Contacts: count})
		mounted := http.StripPrefix("/acme", a.Server)
		if count > 60 { // a hole in the numbers must not matter
			a.keyed("DELETE", "/v1/contacts/con_000051", nil).want(t, 204)
			count--
		}
		want := byCursor(t, a, "/v1/contacts?limit=100")
		ids := map[string]bool{}
		for _, c := range want {
			ids[c.ID] = true
		}
		if len(want) != max(0, count) || len(ids) != max(0, count) {
			t.Errorf("%d contacts, %d different, want %d", len(want), len(ids), count)
		}
		for name, got := range map[string][]contact{
			"cursor by 7":   byCursor(t, a, "/v1/contacts?limit=7"),
			"cursor":        byCursor(t, a, "/v1/contacts?"),
			"offset by 9":   byOffset(t, a, 9),
			"link":          byLink(t, a, "http://acme.test/v1/contacts/link"),
			"link, mounted": byLink(t, mounted, "https://acme.test:8443/acme/v1/contacts/link?limit=10&keep=a%20b"),
		} {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%d contacts by %s:\n%s", count, name, diff)
			}
		}
	}
}

func TestLinkHeader(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	got := a.keyed("GET", "http://acme.test/v1/contacts/link?page=2&limit=100", nil).want(t, 200).header.Get("Link")
	want := `<http://acme.test/v1/contacts/link?limit=100&page=3>; rel="next", <http://acme.test/v1/contacts/link?limit=100&page=1>; rel="prev", ` +
		`<http://acme.test/v1/contacts/link?limit=100&page=1>; rel="first", <http://acme.test/v1/contacts/link?limit=100&page=3>; rel="last"`
	if got != want {
		t.Errorf("Link\n%s\nwant\n%s", got, want)
	}
	beyond := a.keyed("GET", "/v1/contacts/link?page=9223372036854775807", nil).want(t, 200)
	if strings.TrimSpace(string(beyond.body)) != "[]" || strings.Contains(beyond.header.Get("Link"), "next") {
		t.Errorf("beyond the end: %s, %s", beyond.body, beyond.header.Get("Link"))
	}
}

func TestUpdatedSinceShowsChangesAndTombstones(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	since := a.clock.Now()
	a.clock.advance(time.Minute)
	var touched struct{ Data []contact }
	a.do("POST", "/_sandbox/contacts/touch", map[string]int{"count": 3}).into(t, 200, &touched)
	a.keyed("DELETE", "/v1/contacts/con_000200", nil).want(t, 204)
	var made contact
	a.keyed("POST", "/v1/contacts", map[string]string{"last_name": "New"}).into(t, 201, &made)

	for _, form := range []string{since.Format(time.RFC3339), fmt.Sprint(since.Unix())} {
		got := byCursor(t, a, "/v1/contacts?limit=2&updated_since="+url.QueryEscape(form))
		if len(got) != 5 || len(touched.Data) != 3 {
			t.Fatalf("%d changes, %d touched", len(got), len(touched.Data))
		}
		if diff := cmp.Diff(touched.Data, got[:3]); diff != "" {
			t.Errorf("touched:\n%s", diff)
		}
		if got[3].ID != "con_000200" || !got[3].Deleted || got[4] != made || got[4].Deleted {
			t.Errorf("then came %+v and %+v", got[3], got[4])
		}
	}
	if got := byCursor(t, a, "/v1/contacts?updated_since="+url.QueryEscape(a.clock.Now().Add(time.Hour).Format(time.RFC3339))); len(got) != 0 {
		t.Errorf("%d changes in the future", len(got))
	}
}

func TestListingsRefuseBadParameters(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	var deals struct {
		NextCursor string `json:"next_cursor"`
	}
	a.keyed("GET", "/v1/deals?limit=1", nil).into(t, 200, &deals)
	for _, path := range []string{
		"/v1/contacts?limit=0", "/v1/contacts?limit=x", "/v1/contacts?limit=", "/v1/contacts?cursor=!", "/v1/contacts?cursor=" + deals.NextCursor,
		"/v1/contacts?updated_since=yesterday", "/v1/contacts/offset?offset=-1", "/v1/contacts/link?page=0", "/v1/deals?cursor=Yw",
	} {
		if got := a.keyed("GET", path, nil).want(t, 400).code(t); got != "invalid_parameter" {
			t.Errorf("%s: %s", path, got)
		}
	}
	var page struct{ Data []contact }
	if a.keyed("GET", "/v1/contacts?limit=5000", nil).into(t, 200, &page); len(page.Data) != 100 {
		t.Errorf("a large limit gave %d", len(page.Data))
	}
	a.do("GET", "/v1/contacts", nil).want(t, 401)
}

func FuzzCursor(f *testing.F) {
	a := start(f, sandbox.Options{Contacts: 60})
	f.Add("YzUw")
	f.Add("ZDUw")
	f.Add("Yy01MA")
	f.Add("YzA1MA")
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, cursor string) {
		got := a.keyed("GET", "/v1/contacts?cursor="+url.QueryEscape(cursor), nil)
		if got.status != 200 && got.status != 400 {
			t.Errorf("cursor %q answered %d: %s", cursor, got.status, got.body)
		}
	})
}

func TestDealsBelongToContacts(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	contacts := map[string]bool{}
	for _, c := range byCursor(t, a, "/v1/contacts?limit=100") {
		contacts[c.ID] = true
	}
	seen := map[string]bool{}
	for cursor := ""; ; {
		var page struct {
			Data []struct {
				ID        string `json:"id"`
				ContactID string `json:"contact_id"`
				Amount    int    `json:"amount_cents"`
			}
			NextCursor *string `json:"next_cursor"`
		}
		a.keyed("GET", "/v1/deals?limit=15&cursor="+cursor, nil).into(t, 200, &page)
		for _, d := range page.Data {
			if seen[d.ID] || !contacts[d.ContactID] || d.Amount <= 0 {
				t.Errorf("odd deal %+v", d)
			}
			seen[d.ID] = true
		}
		if page.NextCursor == nil {
			break
		}
		cursor = *page.NextCursor
	}
	if len(seen) != 50 {
		t.Errorf("%d deals, want 50", len(seen))
	}
}
