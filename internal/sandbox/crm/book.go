// Package crm is the data of Acme CRM: contacts and deals that follow from a seed, and what clients did to the contacts.
//
// It promises that the same seed gives the same data however much of it is generated, that every listing visits each live
// contact once in ascending order of its number, and that UpdatedAt of a contact only grows. It does no I/O and keeps no
// clock: the caller passes the time, guards a Book with a lock, and stores what Saved returns.
package crm

import (
	"fmt"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// MaxSeeded is how many contacts can be generated. Those that clients create are numbered above it, so that saved
	// changes still fit when the generated count changes.
	MaxSeeded = 1_000_000
	// MaxCreated bounds what clients may create; all of them are saved.
	MaxCreated = 100_000
	// maxField is the longest contact field in characters.
	maxField = 256
)

// Contact is a person in Acme CRM. Times are UTC with millisecond precision; UpdatedAt grows with every change. A deleted
// contact stays as a tombstone that only listings with updated_since show.
type Contact struct {
	ID        string    `json:"id"`
	FirstName string    `json:"first_name"`
	LastName  string    `json:"last_name"`
	Email     string    `json:"email"`
	Company   string    `json:"company"`
	Phone     string    `json:"phone"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Deleted   bool      `json:"deleted,omitempty"`
}

func contactID(number int) string { return fmt.Sprintf("con_%06d", number) }

// contactNumber is the inverse of contactID; false for any other spelling.
func contactNumber(id string) (int, bool) {
	digits, ok := strings.CutPrefix(id, "con_")
	number, err := strconv.Atoi(digits)
	return number, ok && err == nil && contactID(number) == id
}

// Input is what a client may set. A nil field is left as it is.
type Input struct {
	FirstName *string `json:"first_name"`
	LastName  *string `json:"last_name"`
	Email     *string `json:"email"`
	Company   *string `json:"company"`
	Phone     *string `json:"phone"`
}

// Invalid says what is wrong with a contact, by the JSON name of the field.
type Invalid map[string]string

// apply sets the given fields and returns what is wrong with the result; empty means valid.
func (in Input) apply(c *Contact) Invalid {
	wrong := Invalid{}
	for _, f := range []struct {
		name string
		from *string
		to   *string
	}{
		{"first_name", in.FirstName, &c.FirstName}, {"last_name", in.LastName, &c.LastName}, {"email", in.Email, &c.Email},
		{"company", in.Company, &c.Company}, {"phone", in.Phone, &c.Phone},
	} {
		if f.from == nil {
			continue
		}
		if utf8.RuneCountInString(*f.from) > maxField {
			wrong[f.name] = fmt.Sprintf("has more than %d characters", maxField)
		}
		*f.to = *f.from
	}
	if c.Email != "" {
		if a, err := mail.ParseAddress(c.Email); err != nil || a.Address != c.Email {
			wrong["email"] = "is no e-mail address"
		}
	} else if c.FirstName == "" && c.LastName == "" {
		wrong["email"] = "is required when there is no name"
	}
	return wrong
}

// Book holds all contacts in ascending order of their number, which is the order of every listing: a contact that
// changes while a client pages keeps its place.
type Book struct {
	seed    uint64
	rows    []row
	deleted int // rows with Deleted
	created int // how many clients created
	touches int // whose turn it is
}

type row struct {
	Contact
	number  int
	changed bool // differs from what the seed gives
}

// NewBook generates count contacts, at most MaxSeeded.
func NewBook(seed uint64, count int) *Book {
	b := &Book{seed: seed, rows: make([]row, count)}
	for i := range b.rows {
		b.rows[i] = row{Contact: SeededContact(seed, i+1), number: i + 1}
	}
	return b
}

// position is where number is or would be.
func (b *Book) position(number int) (int, bool) {
	return slices.BinarySearchFunc(b.rows, number, func(r row, n int) int { return r.number - n })
}

// live returns the row of a contact, or nil if there is none or it was deleted.
func (b *Book) live(id string) *row {
	number, ok := contactNumber(id)
	if !ok {
		return nil
	}
	i, ok := b.position(number)
	if !ok || b.rows[i].Deleted {
		return nil
	}
	return &b.rows[i]
}

// Find returns a contact that exists and was not deleted.
func (b *Book) Find(id string) (Contact, bool) {
	r := b.live(id)
	if r == nil {
		return Contact{}, false
	}
	return r.Contact, true
}

// Create appends a contact. Fits is false when the book is full or the contact invalid.
func (b *Book) Create(in Input, now time.Time) (c Contact, wrong Invalid, fits bool) {
	if wrong = in.apply(&c); len(wrong) > 0 {
		return Contact{}, wrong, false
	}
	if b.created >= MaxCreated {
		return Contact{}, nil, false
	}
	b.created++
	number := MaxSeeded + b.created
	c.ID, c.CreatedAt, c.UpdatedAt = contactID(number), now, now
	b.rows = append(b.rows, row{Contact: c, number: number, changed: true})
	return c, nil, true
}

// Change sets the given fields. Changed is false when there is no such contact or the result would be invalid.
func (b *Book) Change(id string, in Input, now time.Time) (c Contact, wrong Invalid, changed bool) {
	r := b.live(id)
	if r == nil {
		return Contact{}, nil, false
	}
	c = r.Contact
	if wrong = in.apply(&c); len(wrong) > 0 {
		return Contact{}, wrong, false
	}
	r.Contact = c
	r.stamp(now)
	return r.Contact, nil, true
}

// Remove leaves a tombstone and returns it; false means that there is no such contact.
func (b *Book) Remove(id string, now time.Time) (Contact, bool) {
	r := b.live(id)
	if r == nil {
		return Contact{}, false
	}
	r.Deleted = true
	b.deleted++
	r.stamp(now)
	return r.Contact, true
}

// stamp marks the row as changed. UpdatedAt moves by a millisecond at least, so that a change shows even when the clock
// stands still or runs behind the seeded times.
func (r *row) stamp(now time.Time) {
	r.changed = true
	if !now.After(r.UpdatedAt) {
		now = r.UpdatedAt.Add(time.Millisecond)
	}
	r.UpdatedAt = now
}

// Touch gives new phone numbers to count contacts, taking turns, and returns them. Fewer live contacts give fewer.
func (b *Book) Touch(count int, now time.Time) []Contact {
	count = min(count, len(b.rows)-b.deleted)
	touched := make([]Contact, 0, count)
	for len(touched) < count {
		r := &b.rows[b.touches%len(b.rows)]
		b.touches++
		if r.Deleted {
			continue
		}
		rnd := draw(b.seed, 't', b.touches)
		for old := r.Phone; r.Phone == old; { // a draw may hit the number it had
			r.Phone = seededPhone(rnd)
		}
		r.stamp(now)
		touched = append(touched, r.Contact)
	}
	return touched
}

// After lists up to limit contacts whose number is above after. With since, it lists only those updated at or after it and
// includes tombstones. last is the number of the last one; more tells whether another page exists.
func (b *Book) After(after, limit int, since time.Time) (page []Contact, last int, more bool) {
	start, _ := b.position(after + 1)
	page = make([]Contact, 0, limit)
	for _, r := range b.rows[start:] {
		if since.IsZero() && r.Deleted || r.UpdatedAt.Before(since) {
			continue
		}
		if len(page) == limit {
			return page, last, true
		}
		page, last = append(page, r.Contact), r.number
	}
	return page, last, false
}

// At lists up to limit live contacts from offset, and how many there are in all.
func (b *Book) At(offset, limit int) (page []Contact, total int) {
	total = len(b.rows) - b.deleted
	page = make([]Contact, 0, limit)
	start, skip := 0, offset
	if b.deleted == 0 { // nothing to step over: a million rows need no scan
		start, skip = min(offset, len(b.rows)), 0
	}
	for _, r := range b.rows[start:] {
		switch {
		case r.Deleted:
		case skip > 0:
			skip--
		case len(page) < limit:
			page = append(page, r.Contact)
		default:
			return page, total
		}
	}
	return page, total
}

// Saved is what a Book needs, besides seed and count, to be brought back. It is as large as the changes.
type Saved struct {
	Contacts []Contact `json:"contacts"`
	Created  int       `json:"created"`
	Touches  int       `json:"touches"`
}

// Saved returns what differs from the seed.
func (b *Book) Saved() Saved {
	saved := Saved{Created: b.created, Touches: b.touches}
	for _, r := range b.rows {
		if r.changed {
			saved.Contacts = append(saved.Contacts, r.Contact)
		}
	}
	return saved
}

// Restore puts saved changes over a new book. A changed contact that count no longer reaches is kept.
func (b *Book) Restore(saved Saved) error {
	if saved.Created < 0 || saved.Created > MaxCreated || saved.Touches < 0 {
		return fmt.Errorf("counts %d and %d do not fit", saved.Created, saved.Touches)
	}
	b.created, b.touches = saved.Created, saved.Touches
	for _, c := range saved.Contacts {
		number, ok := contactNumber(c.ID)
		if !ok || number < 1 || number > MaxSeeded+saved.Created {
			return fmt.Errorf("contact id %q does not fit", c.ID)
		}
		changed := row{Contact: c, number: number, changed: true}
		if i, found := b.position(number); found {
			b.rows[i] = changed
		} else {
			b.rows = slices.Insert(b.rows, i, changed)
		}
	}
	b.deleted = 0
	for _, r := range b.rows {
		if r.Deleted {
			b.deleted++
		}
	}
	return nil
}
