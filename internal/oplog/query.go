package oplog

import (
	"net/http"
	"time"

	"github.com/patchbay-dev/patchbay/internal/errs"
)

// What a search can be refused for.
var (
	ErrNotFound = errs.NotFound("Operation not found")
	ErrCursor   = errs.New(http.StatusBadRequest, "invalid_cursor", "The cursor is not one that this server gave out")
	ErrText     = errs.New(http.StatusBadRequest, "invalid_search", "The search has too many words: at most 8")
)

// Limits of a search.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
	// MaxTerms is how many words or quoted phrases a search may have; each is one look-up in the text index.
	MaxTerms = 8
)

// Query filters operations of one environment, newest first. A list is a set of alternatives, an empty one lets all pass.
type Query struct {
	EnvironmentID int64
	// Types holds types ("sync") and kinds ("sync:run").
	Types  []string
	States []State
	// Integrations, Connections and Functions are names, as in Record.
	Integrations []string
	Connections  []string
	Functions    []string
	// From is inclusive, To is not; zero leaves that side open.
	From, To time.Time
	// Text finds operations that hold every one of its words, in their own fields or in any of their messages. A word also
	// finds longer ones that begin with it; "words in quotes" stand next to each other and are whole.
	Text string
	// Limit is the size of the page; 0 means DefaultLimit, more than MaxLimit means MaxLimit.
	Limit int
	// Cursor is the one of the page before.
	Cursor string
}

// Page is some operations out of all that match.
type Page struct {
	Records []Record
	// Total is how many match, on all pages.
	Total int
	// Cursor continues after this page; empty on the last one.
	Cursor string
}

// MessageQuery filters the messages of an operation, newest first unless OldestFirst is set.
type MessageQuery struct {
	// Text works as in Query, within one message.
	Text        string
	Levels      []Level
	From, To    time.Time
	Limit       int
	Cursor      string
	OldestFirst bool
}

// MessagePage is some messages out of all that match.
type MessagePage struct {
	Messages []Message
	Total    int
	Cursor   string
}

// Event is what is seen of an operation as it happens: the row as it now is, and messages that were added to it.
type Event struct {
	Record   Record    `json:"operation"`
	Messages []Message `json:"messages,omitempty"`
}

// Bucket counts the operations that began in a span of time, by state.
type Bucket struct {
	Start  time.Time     `json:"start"`
	Counts map[State]int `json:"counts"`
}
