package oplog

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

// Writer keeps operations and messages. Calls of one operation come in order, from one goroutine at a time.
type Writer interface {
	// Save inserts or replaces the operation's row.
	Save(ctx context.Context, r Record) error
	// Append adds messages to an operation. They are in order and already redacted and cut.
	Append(ctx context.Context, r Record, messages []Message) error
	// Load finds an operation that was begun elsewhere; ErrNotFound when its day is gone.
	Load(ctx context.Context, environmentID int64, id string) (Record, error)
}

// Options of New. Writer is required.
type Options struct {
	Writer Writer
	Now    func() time.Time
	Logger *slog.Logger
	// Ended is called when an operation reaches a final state, for metrics and trace export. It must not block.
	Ended func(r Record)
}

// Log is where operations begin.
type Log struct{ opts Options }

// New makes a Log.
func New(opts Options) *Log {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return &Log{opts}
}

// Limits on what an operation gathers before it is written, so that it can be followed while it runs and little is lost with
// the process.
const (
	flushBytes = 64 << 10
	flushAfter = time.Second
)

// defaultLife is how long an operation may stay open before it is taken for lost. Kinds that end sooner set ExpiresAt.
const defaultLife = 24 * time.Hour

// Begin starts an operation. Kind and EnvironmentID are required; the rest of r is filled in. An ID that was made before, with
// NewID, is kept, and so is its CreatedAt, which must be the time of the ID.
func (l *Log) Begin(ctx context.Context, r Record) *Operation {
	now := l.opts.Now().UTC()
	if r.ID == "" {
		r.ID, r.CreatedAt = NewID(now), now
	}
	r.UpdatedAt = now
	if r.State == "" {
		r.State = Running
	}
	if r.State == Running {
		r.StartedAt = &now
	}
	if r.ExpiresAt.IsZero() {
		r.ExpiresAt = now.Add(defaultLife)
	}
	if r.Message == "" {
		r.Message = label(r.Kind)
	}
	o := &Operation{log: l, record: r}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.save(ctx)
	return o
}

// Resume continues an operation that was begun by another process or an earlier run.
func (l *Log) Resume(ctx context.Context, environmentID int64, id string) (*Operation, error) {
	r, err := l.opts.Writer.Load(ctx, environmentID, id)
	if err != nil {
		return nil, err
	}
	return &Operation{log: l, record: r, saved: r}, nil
}

// idAlphabet makes ids that match [a-zA-Z0-9_]{20,25}, as the wire contract has them.
const idAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// NewID makes the id of an operation that starts at t.
func NewID(t time.Time) string {
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails
	for i, b := range random {
		random[i] = idAlphabet[int(b)%len(idAlphabet)]
	}
	return fmt.Sprintf("%013d_%s", t.UnixMilli(), random)
}

// Operation is one operation that is being written. It is safe for concurrent use; after End further messages are still kept,
// the state is not changed any more.
type Operation struct {
	log *Log

	mu       sync.Mutex
	record   Record
	redactor redactor
	saved    Record // the row as it was last written, without secrets
	pending  []Message
	size     int
	timer    *time.Timer // flushes what is pending; nil when nothing is
}

// ID is the operation's id, which clients get in the header X-Patchbay-Operation-Id.
func (o *Operation) ID() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.record.ID
}

// Hide makes these secrets unreadable in everything that is written from now on, in all their encodings.
func (o *Operation) Hide(secrets ...secret.Text) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.redactor.add(secrets)
	o.redactor.record(&o.saved)
}

// Change edits the row, for what becomes known later: the connection, the response. The identity and times are not editable.
func (o *Operation) Change(ctx context.Context, edit func(r *Record)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.record
	edit(&o.record)
	o.record.ID, o.record.CreatedAt, o.record.State = before.ID, before.CreatedAt, before.State
	o.save(ctx)
}

// Log appends a line.
func (o *Operation) Log(ctx context.Context, level Level, text string) {
	o.Append(ctx, Message{Level: level, Text: text})
}

// Append adds a message. ID, CreatedAt, Source, Type and Level are filled in when empty.
func (o *Operation) Append(ctx context.Context, m Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.log.opts.Now().UTC()
	m.fill(now)
	o.redactor.message(&m)
	o.pending = append(o.pending, m)
	o.size += m.size()
	if o.size >= flushBytes {
		o.flush(ctx)
		return
	}
	if len(o.pending) == 1 {
		ctx := context.WithoutCancel(ctx)
		o.timer = time.AfterFunc(flushAfter, func() { o.Flush(ctx) })
	}
}

// Success ends the operation well.
func (o *Operation) Success(ctx context.Context) { o.end(ctx, Success, nil) }

// Fail ends it badly.
func (o *Operation) Fail(ctx context.Context, f Failure) { o.end(ctx, Failed, &f) }

// Cancel ends it because somebody asked to.
func (o *Operation) Cancel(ctx context.Context) { o.end(ctx, Cancelled, nil) }

// TimeOut ends it because it took too long.
func (o *Operation) TimeOut(ctx context.Context, f Failure) { o.end(ctx, Timeout, &f) }

// Flush writes what has been gathered.
func (o *Operation) Flush(ctx context.Context) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flush(ctx)
}

func (o *Operation) end(ctx context.Context, state State, failure *Failure) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.log.opts.Now().UTC()
	o.flush(ctx)
	if o.record.EndedAt != nil {
		return
	}
	o.record.State, o.record.Error, o.record.EndedAt = state, failure, &now
	if o.record.StartedAt != nil {
		o.record.DurationMs = now.Sub(*o.record.StartedAt).Milliseconds()
	}
	o.save(ctx)
	if o.log.opts.Ended != nil {
		o.log.opts.Ended(o.saved)
	}
}

// save and flush go on when the caller has given up: what happened is to be seen then too.
func (o *Operation) save(ctx context.Context) {
	o.record.UpdatedAt = o.log.opts.Now().UTC()
	r := o.record
	o.redactor.record(&r)
	o.saved = r
	if err := o.log.opts.Writer.Save(context.WithoutCancel(ctx), r); err != nil {
		o.log.opts.Logger.ErrorContext(ctx, "write an operation", "operation", r.ID, "err", err)
	}
}

func (o *Operation) flush(ctx context.Context) {
	if len(o.pending) == 0 {
		return
	}
	if o.timer != nil {
		o.timer.Stop()
	}
	if err := o.log.opts.Writer.Append(context.WithoutCancel(ctx), o.saved, o.pending); err != nil {
		o.log.opts.Logger.ErrorContext(ctx, "write messages", "operation", o.record.ID, "messages", len(o.pending), "err", err)
	}
	o.pending, o.size, o.timer = nil, 0, nil
}

func label(k Kind) string {
	if text, ok := labels[k]; ok {
		return text
	}
	text := strings.TrimSpace(k.Type + " " + strings.ReplaceAll(k.Action, "_", " "))
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

var labels = map[Kind]string{
	CreateConnection:  "Connection created",
	RefreshToken:      "Token refreshed",
	SyncRun:           "Sync executed",
	ActionRun:         "Action called",
	ProxyCall:         "Proxy call",
	SyncInit:          "Sync scheduled",
	SyncRequest:       "Sync run requested",
	SyncRequestFull:   "Full sync run requested",
	SyncPause:         "Sync paused",
	SyncUnpause:       "Sync resumed",
	SyncCancel:        "Sync run cancelled",
	WebhookSync:       "Sync webhook",
	WebhookConnection: "Connection webhook",
	WebhookRefresh:    "Token refresh webhook",
	WebhookForward:    "Webhook forwarded",
	WebhookIncoming:   "Webhook processed",
	Deploy:            "Deploy",
}
