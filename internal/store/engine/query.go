package engine

import (
	"fmt"
	"regexp"
	"strings"
)

// Query is one statement, prepared once per connection. Declare it as a package variable so that it is built once and can
// serve as the key of the statement cache.
type Query struct {
	lite string
	pg   string
}

var (
	placeholder = regexp.MustCompile(`\$(\d+)`)
	inList      = regexp.MustCompile(`\{in (\$\d+)\}`)
)

// SQL registers one text for both engines. Placeholders are $1, $2, …; besides it knows two macros:
//
//	col {in $1}     col = ANY($1), or on SQLite col IN (SELECT value FROM json_each($1)); the argument is a List
//	{skip locked}   FOR UPDATE SKIP LOCKED, or nothing on SQLite, where there is one writer
func SQL(text string) *Query { return SQLPair(text, text) }

// SQLPair registers a statement that the engines must spell differently. Use it only where SQL can't say it.
func SQLPair(lite, pg string) *Query {
	lite = inList.ReplaceAllString(lite, "IN (SELECT value FROM json_each($1))")
	lite = strings.ReplaceAll(lite, "{skip locked}", "")
	// SQLite numbers $1 by order of first appearance in some drivers; ?1 is positional in all of them.
	lite = placeholder.ReplaceAllString(lite, "?$1")
	pg = inList.ReplaceAllString(pg, "= ANY($1)")
	pg = strings.ReplaceAll(pg, "{skip locked}", "FOR UPDATE SKIP LOCKED")
	return &Query{lite: lite, pg: pg}
}

// String gives the text as PostgreSQL gets it; it is what error messages show.
func (q *Query) String() string { return q.pg }

// List is an argument for {in $N}: a PostgreSQL array or a JSON array on SQLite.
type List[T string | int64] []T

func (l List[T]) liteArg() any {
	var b strings.Builder
	b.WriteByte('[')
	for i, v := range l {
		if i > 0 {
			b.WriteByte(',')
		}
		switch v := any(v).(type) {
		case string:
			appendJSONString(&b, v)
		default:
			fmt.Fprint(&b, v)
		}
	}
	b.WriteByte(']')
	return b.String()
}

func (l List[T]) pgArg() any { return []T(l) }

// listArg is what List is, whatever its element.
type listArg interface {
	liteArg() any
	pgArg() any
}
