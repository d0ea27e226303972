package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/patchbay-dev/patchbay/internal/oplog"
)

// logsOptions are the flags of the command.
type logsOptions struct {
	follow bool
	asJSON bool
	filter map[string]*[]string // by the name of the flag, which is that of the query parameter
	since  string
	search string
	limit  int
	server serverFlags
}

// logsRecent is how many operations are shown before new ones when they are followed.
const logsRecent = 10

func newLogsCommand() *cobra.Command {
	o := &logsOptions{filter: map[string]*[]string{}}
	cmd := &cobra.Command{
		Use:   "logs [ID]",
		Short: "Search and follow operations",
		Long: "Lists what happened in an environment, the newest last: syncs, actions, webhooks, connections, proxy calls. With an ID,\n" +
			"shows that operation with all its messages. Asks a running server with a secret key of the environment.",
		Example: "  patchbay logs --status failed --since 24h\n" +
			"  patchbay logs -f --type sync --integration hubspot\n" +
			"  patchbay logs --search '\"rate limit\" 429' --json\n" +
			"  patchbay logs 1795262400000_x7Qk9aBc",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.MaximumNArgs(1)(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			id := ""
			if len(args) > 0 {
				id = args[0]
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), id)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.follow, "follow", "f", false, "go on showing what happens until interrupted")
	for name, usage := range map[string]string{
		"type":        "sync, action, proxy, webhook, auth, events, deploy, or with an action: sync:run",
		"status":      "waiting, running, success, failed, timeout or cancelled",
		"integration": "integration id",
		"connection":  "connection id",
		"function":    "name of a sync or action",
	} {
		o.filter[name] = flags.StringArray(name, nil, usage+"; may be repeated")
	}
	flags.StringVar(&o.since, "since", "", "only what began since then: 30m, 24h, 7d or a time such as 2026-11-21T09:00:00Z")
	flags.StringVar(&o.search, "search", "", `words that the operation or its messages hold; "words in quotes" stand together`)
	flags.IntVarP(&o.limit, "limit", "n", 50, "how many at most, 1 to 1000")
	flags.BoolVar(&o.asJSON, "json", false, "print a JSON object per line")
	o.server.register(flags)
	return cmd
}

func (o *logsOptions) run(ctx context.Context, out, progress io.Writer, id string) error {
	server, err := o.server.client(os.Getenv)
	if err != nil {
		return err
	}
	client := &logsClient{server}
	p := &logsPrinter{out: out, json: o.asJSON, colours: logsColours(out, os.Getenv), shown: map[string]oplog.State{}}
	query, err := o.query(time.Now())
	if err != nil {
		return err
	}
	switch {
	case id != "" && !o.follow:
		return o.showOne(ctx, client, p, id)
	case id != "":
		if err := o.showOne(ctx, client, p, id); err != nil {
			return err
		}
		return client.follow(ctx, progress, url.Values{"search": {id}}, func(e oplog.Event) error {
			if e.Record.ID != id {
				return nil
			}
			return p.event(e)
		})
	}
	if o.follow {
		query.Set("limit", strconv.Itoa(min(o.limit, logsRecent)))
	}
	records, total, err := client.operations(ctx, query)
	if err != nil {
		return err
	}
	slices.Reverse(records)
	for _, r := range records {
		if err := p.operation(r); err != nil {
			return err
		}
	}
	if !o.follow {
		if more := total - len(records); more > 0 {
			_, _ = fmt.Fprintf(progress, "%d older ones: narrow the search, or use --limit\n", more)
		} else if total == 0 {
			_, _ = fmt.Fprintln(progress, "nothing found")
		}
		return nil
	}
	for _, name := range []string{"limit", "from"} {
		query.Del(name)
	}
	return client.follow(ctx, progress, query, p.event)
}

func (o *logsOptions) showOne(ctx context.Context, client *logsClient, p *logsPrinter, id string) error {
	r, err := client.operation(ctx, id)
	if err != nil {
		return err
	}
	if o.asJSON {
		var all []oplog.Message
		err := client.messages(ctx, id, o.search, func(m oplog.Message) error {
			all = append(all, m)
			return nil
		})
		if err != nil {
			return err
		}
		return p.event(oplog.Event{Record: r, Messages: all})
	}
	if err := p.details(r); err != nil {
		return err
	}
	return client.messages(ctx, id, o.search, p.message)
}

// query is the filter as the API takes it.
func (o *logsOptions) query(now time.Time) (url.Values, error) {
	q := url.Values{}
	for name, values := range o.filter {
		if len(*values) > 0 {
			q[name] = *values
		}
	}
	if o.search != "" {
		q.Set("search", o.search)
	}
	if o.since != "" {
		from, err := logsSince(o.since, now)
		if err != nil {
			return nil, usageError{err}
		}
		q.Set("from", from.UTC().Format(time.RFC3339Nano))
	}
	if o.limit < 1 || o.limit > oplog.MaxLimit {
		return nil, usageError{fmt.Errorf("--limit %d: want 1 to %d", o.limit, oplog.MaxLimit)}
	}
	q.Set("limit", strconv.Itoa(o.limit))
	return q, nil
}

// logsSince reads a length of time before now, with days as d, or a time.
func logsSince(s string, now time.Time) (time.Time, error) {
	if days, isDays := strings.CutSuffix(s, "d"); isDays {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 && n < 36500 {
			return now.Add(-time.Duration(n * 24 * float64(time.Hour))), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--since %s: want a length of time such as 30m, 24h or 7d, or a time such as 2026-11-21T09:00:00Z", s)
}

// logsPrinter shows operations and messages as text or as JSON.
type logsPrinter struct {
	out     io.Writer
	json    bool
	colours bool
	shown   map[string]oplog.State // the state in which an operation was last shown
}

// logsShown bounds what is remembered while following.
const logsShown = 10_000

func logsColours(out io.Writer, getenv func(string) string) bool {
	file, ok := out.(*os.File)
	if !ok || getenv("NO_COLOR") != "" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (p *logsPrinter) asJSON(v any) error {
	encoder := json.NewEncoder(p.out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

func (p *logsPrinter) event(e oplog.Event) error {
	if p.json {
		return p.asJSON(e)
	}
	if p.shown[e.Record.ID] != e.Record.State {
		if err := p.operation(e.Record); err != nil {
			return err
		}
	}
	for _, m := range e.Messages {
		if err := p.message(m); err != nil {
			return err
		}
	}
	return nil
}

func (p *logsPrinter) operation(r oplog.Record) error {
	if p.json {
		return p.asJSON(r)
	}
	if len(p.shown) >= logsShown {
		clear(p.shown)
	}
	p.shown[r.ID] = r.State
	duration := ""
	if r.EndedAt != nil {
		duration = logsDuration(r.DurationMs)
	}
	names := []string{r.IntegrationName, r.ConnectionName, r.FunctionName}
	about := strings.Join(slices.DeleteFunc(names, func(s string) bool { return s == "" }), " · ")
	at, state := r.CreatedAt.Local().Format(time.DateTime), p.paint(string(r.State), fmt.Sprintf("%-9s", r.State))
	line := fmt.Sprintf("%s  %s  %-24s  %7s  %s  %s", at, state, r.Kind.Type+":"+r.Kind.Action, duration, logsPlain(r.ID), logsPlain(about))
	line = strings.TrimRight(line, " ")
	if r.Error != nil {
		line += "\n    " + p.paint("failed", logsPlain(r.Error.Name+": "+r.Error.Message))
	}
	_, err := fmt.Fprintln(p.out, line)
	return err
}

// details shows all that is known of one operation.
func (p *logsPrinter) details(r oplog.Record) error {
	if err := p.operation(r); err != nil {
		return err
	}
	var b strings.Builder
	if q := r.Request; q != nil {
		fmt.Fprintf(&b, "    request   %s %s\n", logsPlain(q.Method), logsPlain(q.URL))
	}
	if a := r.Response; a != nil {
		fmt.Fprintf(&b, "    response  %d\n", a.Code)
	}
	if r.Error != nil && len(r.Error.Payload) > 0 {
		fmt.Fprintf(&b, "    payload   %s\n", logsPlain(string(r.Error.Payload)))
	}
	if len(r.Meta) > 0 {
		fmt.Fprintf(&b, "    meta      %s\n", logsPlain(string(r.Meta)))
	}
	_, err := io.WriteString(p.out, b.String())
	return err
}

func (p *logsPrinter) message(m oplog.Message) error {
	at, level := m.CreatedAt.Local().Format("15:04:05.000"), p.paint(string(m.Level), fmt.Sprintf("%-5s", m.Level))
	line := fmt.Sprintf("    %s  %s  %s", at, level, logsPlain(m.Text))
	if m.Response != nil {
		line += fmt.Sprintf("  %d", m.Response.Code)
	}
	if m.DurationMs > 0 {
		line += "  " + logsDuration(m.DurationMs)
	}
	if m.Retry != nil && m.Retry.Attempt > 0 {
		line += fmt.Sprintf("  attempt %d of %d", m.Retry.Attempt+1, m.Retry.Max+1)
	}
	if m.Error != nil {
		line += "\n                  " + p.paint("error", logsPlain(m.Error.Name+": "+m.Error.Message))
	}
	if len(m.Meta) > 0 && string(m.Meta) != "null" {
		line += "\n                  " + logsPlain(string(m.Meta))
	}
	_, err := fmt.Fprintln(p.out, line)
	return err
}

func logsDuration(ms int64) string {
	switch d := time.Duration(ms) * time.Millisecond; {
	case d < 10*time.Second:
		return d.String()
	default:
		return d.Round(time.Second).String()
	}
}

// logsPlain replaces what a terminal would act upon: texts come from third parties.
func logsPlain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return '\uFFFD'
		}
		return r
	}, s)
}

// paint colours text by a state or level.
func (p *logsPrinter) paint(mood, text string) string {
	if !p.colours {
		return text
	}
	var colour string
	switch mood {
	case "success":
		colour = "32"
	case "failed", "timeout", "error":
		colour = "31"
	case "warn", "cancelled":
		colour = "33"
	case "running", "waiting":
		colour = "36"
	case "debug":
		colour = "2"
	default:
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}
