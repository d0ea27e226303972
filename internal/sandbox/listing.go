package sandbox

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay-dev/patchbay/internal/sandbox/crm"
)

// Page sizes of every listing. A larger limit is cut to maxLimit, as most APIs do.
const (
	defaultLimit = 50
	maxLimit     = 100
)

// intParam reads a whole number of at least least; a missing one is fallback.
func intParam(q url.Values, name string, fallback, least int) (int, error) {
	if !q.Has(name) {
		return fallback, nil
	}
	n, err := strconv.Atoi(q.Get(name))
	if err != nil || n < least {
		return 0, fmt.Errorf("%s must be a number of at least %d", name, least)
	}
	return n, nil
}

func limitParam(q url.Values) (int, error) {
	n, err := intParam(q, "limit", defaultLimit, 1)
	return min(n, maxLimit), err
}

// A cursor names the last row that was seen: a letter for the listing and its number, in base64url.
func makeCursor(kind byte, last int) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%c%d", kind, last))
}

// parseCursor is the inverse of makeCursor. "" is the beginning.
func parseCursor(kind byte, cursor string) (int, error) {
	if cursor == "" {
		return 0, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil && len(raw) > 1 && raw[0] == kind {
		if last, err := strconv.Atoi(string(raw[1:])); err == nil && makeCursor(kind, last) == cursor && last > 0 {
			return last, nil
		}
	}
	return 0, errors.New("cursor is not one of this listing")
}

// sinceParam reads updated_since as RFC 3339 or Unix seconds; the zero time means that it is missing.
func sinceParam(q url.Values) (time.Time, error) {
	raw := q.Get("updated_since")
	if raw == "" {
		return time.Time{}, nil
	}
	if seconds, err := strconv.ParseInt(raw, 10, 64); err == nil {
		return time.Unix(seconds, 0).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339, raw)
	if err != nil {
		return time.Time{}, errors.New("updated_since must be RFC 3339 or Unix seconds")
	}
	return t.UTC(), nil
}

// firstErr returns the first that is not nil.
func firstErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// cursorPage is the answer of cursor listings. NextCursor is null on the last page.
type cursorPage[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor"`
}

func badParam(w http.ResponseWriter, err error) {
	failf(w, http.StatusBadRequest, "invalid_parameter", "%s.", err)
}

func (s *Server) listByCursor(w http.ResponseWriter, r *http.Request, _ caller) {
	q := r.URL.Query()
	limit, errLimit := limitParam(q)
	after, errCursor := parseCursor('c', q.Get("cursor"))
	since, errSince := sinceParam(q)
	if err := firstErr(errLimit, errCursor, errSince); err != nil {
		badParam(w, err)
		return
	}
	s.mu.RLock()
	data, last, more := s.contacts.After(after, limit, since)
	s.mu.RUnlock()
	page := cursorPage[crm.Contact]{Data: data}
	if more {
		next := makeCursor('c', last)
		page.NextCursor = &next
	}
	answer(w, http.StatusOK, page)
}

func (s *Server) listByOffset(w http.ResponseWriter, r *http.Request, _ caller) {
	q := r.URL.Query()
	limit, errLimit := limitParam(q)
	offset, errOffset := intParam(q, "offset", 0, 0)
	if err := firstErr(errLimit, errOffset); err != nil {
		badParam(w, err)
		return
	}
	s.mu.RLock()
	data, total := s.contacts.At(offset, limit)
	s.mu.RUnlock()
	answer(w, http.StatusOK, struct {
		Data   []crm.Contact `json:"data"`
		Offset int           `json:"offset"`
		Limit  int           `json:"limit"`
		Total  int           `json:"total"`
	}{data, offset, limit, total})
}

// listByLink answers a bare array and says in Link (RFC 8288) where the other pages are. Pages count from 1.
func (s *Server) listByLink(w http.ResponseWriter, r *http.Request, _ caller) {
	q := r.URL.Query()
	limit, errLimit := limitParam(q)
	page, errPage := intParam(q, "page", 1, 1)
	if err := firstErr(errLimit, errPage); err != nil {
		badParam(w, err)
		return
	}
	page = min(page, 1<<31) // page × limit must not overflow; beyond the end it is empty anyway
	s.mu.RLock()
	data, total := s.contacts.At((page-1)*limit, limit)
	s.mu.RUnlock()

	last := max(1, (total+limit-1)/limit)
	var links []string
	link := func(rel string, number int) {
		u := ownURL(r)
		q.Set("page", strconv.Itoa(number))
		u.RawQuery = q.Encode()
		links = append(links, fmt.Sprintf("<%s>; rel=%q", u.String(), rel))
	}
	if page < last {
		link("next", page+1)
	}
	if page > 1 {
		link("prev", min(page-1, last))
	}
	link("first", 1)
	link("last", last)
	w.Header().Set("Link", strings.Join(links, ", "))
	answer(w, http.StatusOK, data)
}

// ownURL is the address the client used, without its query. It comes from the request line, because a mount point is
// stripped from r.URL.
func ownURL(r *http.Request) url.URL {
	u := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	if line, err := url.ParseRequestURI(r.RequestURI); err == nil {
		u.Path, u.RawPath = line.Path, line.RawPath
	}
	return u
}

func (s *Server) listDeals(w http.ResponseWriter, r *http.Request, _ caller) {
	q := r.URL.Query()
	limit, errLimit := limitParam(q)
	after, errCursor := parseCursor('d', q.Get("cursor"))
	if err := firstErr(errLimit, errCursor); err != nil {
		badParam(w, err)
		return
	}
	page, deals := cursorPage[crm.Deal]{Data: make([]crm.Deal, 0, limit)}, s.count/5
	for number := after + 1; number <= deals && len(page.Data) < limit; number++ {
		page.Data = append(page.Data, crm.SeededDeal(s.seed, number, s.count))
	}
	if last := after + len(page.Data); last < deals {
		next := makeCursor('d', last)
		page.NextCursor = &next
	}
	answer(w, http.StatusOK, page)
}
