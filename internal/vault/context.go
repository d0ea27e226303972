package vault

import "encoding/binary"

// Context is the place of a sealed value: it is authenticated with the value and must be given again to open it. All three
// parts are needed, and ID must never change for the life of the row.
type Context struct {
	Table  string
	Column string
	// ID is the row's own identity: a UUID made before the row is inserted, or the text of an integer key.
	ID string
}

// String names the place in messages; it holds no secret.
func (c Context) String() string { return c.Table + "." + c.Column + " of " + c.ID }

// associated encodes c so that no two contexts share an encoding: each part is preceded by its length.
func (c Context) associated() []byte {
	b := make([]byte, 0, 3*binary.MaxVarintLen16+len(c.Table)+len(c.Column)+len(c.ID))
	for _, part := range [...]string{c.Table, c.Column, c.ID} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}

func (c Context) place() place { return place{c.Table, c.Column} }

func (c Context) complete() bool { return c.Table != "" && c.Column != "" && c.ID != "" }

// place is a sealed column.
type place struct{ table, column string }
