package logstore

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

// day is a UTC day, in days since 1970.
type day int64

const dayLength = 24 * time.Hour

func dayOf(t time.Time) day { return day(t.UnixMilli() / dayLength.Milliseconds()) }

func (d day) start() time.Time { return time.UnixMilli(int64(d) * dayLength.Milliseconds()).UTC() }

// String is the day as it is in names of files and partitions.
func (d day) String() string { return d.start().Format("20060102") }

func parseDay(s string) (day, bool) {
	t, err := time.Parse("20060102", s)
	return dayOf(t), err == nil
}

// dayOfID is the day that an operation's id tells.
func dayOfID(id string) (day, bool) {
	const digits = 13 // of the milliseconds, until the year 2286
	if len(id) < digits+2 || id[digits] != '_' {
		return 0, false
	}
	ms, err := strconv.ParseUint(id[:digits], 10, 63)
	return dayOf(time.UnixMilli(int64(ms))), err == nil // it has 13 digits
}

// errNoDay says that nothing was kept of a day.
var errNoDay = errors.New("nothing is kept of that day")

// days is where the days are: files or partitions.
type days interface {
	// list gives the days that are kept, oldest first.
	list(ctx context.Context) ([]day, error)
	// write runs fn in a transaction on the day's tables, which it makes when they are missing.
	write(ctx context.Context, d day, fn func(ctx context.Context, db *engine.DB) error) error
	// read runs fn on the day's tables, or returns errNoDay.
	read(ctx context.Context, d day, fn func(ctx context.Context, db *engine.DB) error) error
	// prepare makes a day's tables before they are needed.
	prepare(ctx context.Context, d day) error
	// drop forgets the day and gives its space back.
	drop(ctx context.Context, d day) error
	// size is how many bytes the day takes on disk.
	size(ctx context.Context, d day) (int64, error)
	// rest lets go of what was not used lately.
	rest(now time.Time) error
	close() error
}
