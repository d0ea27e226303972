package provider_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/lifecycle"
	"github.com/patchbay-dev/patchbay/internal/provider"
)

var _ lifecycle.Service = (*provider.Live)(nil)

// fakeChanges is a watch that a test triggers.
type fakeChanges struct {
	c      chan struct{}
	closed atomic.Int32
}

func (f *fakeChanges) C() <-chan struct{} { return f.c }
func (f *fakeChanges) Close() error       { f.closed.Add(1); return nil }

// overlay is an operator's directory with a Live over it, inside a synctest bubble.
type overlay struct {
	t        *testing.T
	dir      string
	changes  *fakeChanges
	reloads  atomic.Int32
	problems atomic.Int32
	live     *provider.Live
}

func newOverlay(t *testing.T, change func(*provider.LiveOptions), pairs ...string) *overlay {
	t.Helper()
	o := &overlay{t: t, dir: t.TempDir(), changes: &fakeChanges{c: make(chan struct{})}}
	for i := 0; i < len(pairs); i += 2 {
		o.write(pairs[i], pairs[i+1])
	}
	opts := provider.LiveOptions{
		Base: files("base", plain), OverlayDir: o.dir, Rescan: -1,
		Watch:      func(string) (provider.Changes, error) { return o.changes, nil },
		OnReload:   func(context.Context, *provider.Catalog) { o.reloads.Add(1) },
		OnProblems: func(context.Context, provider.Problems) { o.problems.Add(1) },
	}
	if change != nil {
		change(&opts)
	}
	live, err := provider.NewLive(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	o.live = live
	return o
}

func (o *overlay) write(name, text string) {
	o.t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, name), []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
}

func (o *overlay) start() {
	o.t.Helper()
	if err := o.live.Start(o.t.Context()); err != nil {
		o.t.Fatal(err)
	}
	synctest.Wait()
}

func (o *overlay) stop() {
	o.t.Helper()
	if err := o.live.Stop(o.t.Context()); err != nil {
		o.t.Error(err)
	}
}

func (o *overlay) names() []string {
	var names []string
	for _, p := range o.live.List() {
		names = append(names, p.Name+"="+p.DisplayName)
	}
	return names
}

const extra = "alias: base\ndisplay_name: Extra\n"

func TestLiveUsesNewFilesAfterOneQuietMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOverlay(t, nil)
		o.start()
		before := o.live.Catalog()

		o.write("extra.yaml", extra)
		o.changes.c <- struct{}{}
		o.write("other.yaml", extra)
		o.changes.c <- struct{}{}
		synctest.Wait()
		if o.live.Catalog() != before {
			t.Error("reloaded before the debounce time")
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if diff := cmp.Diff([]string{"base=Example", "extra=Extra", "other=Extra"}, o.names()); diff != "" {
			t.Errorf("catalog (-want +got)\n%s", diff)
		}
		if _, ok := before.Get("extra"); ok {
			t.Error("a snapshot that was taken before has changed")
		}
		if got := o.reloads.Load(); got != 2 { // one by NewLive
			t.Errorf("%d reloads, want 2", got)
		}

		o.changes.c <- struct{}{} // a notice without a change of content
		time.Sleep(time.Second)
		synctest.Wait()
		if got := o.reloads.Load(); got != 2 {
			t.Errorf("%d reloads after a change of nothing, want 2", got)
		}
		o.stop()
		o.stop()
		if got := o.changes.closed.Load(); got != 1 {
			t.Errorf("the watch was closed %d times", got)
		}
	})
}

func TestLiveKeepsTheLastGoodCatalogWhileAFileIsBroken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOverlay(t, func(opts *provider.LiveOptions) { opts.Rescan = time.Minute }, "extra.yaml", extra)
		o.start()
		good := o.live.Catalog()

		o.write("extra.yaml", "alias: base\ndisplay_name: [no, text]\n")
		o.write("fine.yaml", extra)
		time.Sleep(3 * time.Minute) // no notice at all: the rescan sees it
		synctest.Wait()
		if o.live.Catalog() != good {
			t.Error("a broken overlay replaced the catalog")
		}
		want := provider.Problems{{File: filepath.Join(o.dir, "extra.yaml"), Line: 2, Message: "display_name must be of type string, it is of type array"}}
		if diff := cmp.Diff(want, o.live.Problems()); diff != "" {
			t.Errorf("problems (-want +got)\n%s", diff)
		}
		if got := o.problems.Load(); got != 1 {
			t.Errorf("the same problem was reported %d times", got)
		}
		var problems provider.Problems
		if err := o.live.Reload(t.Context()); !errors.As(err, &problems) {
			t.Errorf("Reload gave %v, want Problems", err)
		}

		o.write("extra.yaml", extra)
		time.Sleep(time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([]string{"base=Example", "extra=Extra", "fine=Extra"}, o.names()); diff != "" {
			t.Errorf("catalog (-want +got)\n%s", diff)
		}
		if o.live.Problems() != nil {
			t.Errorf("problems after they were mended: %v", o.live.Problems())
		}
		o.stop()
	})
}

func TestLiveStartsOnTheBaseWhenTheOverlayIsBroken(t *testing.T) {
	t.Parallel()
	o := newOverlay(t, nil, "broken.yaml", "display_name: 1\n")
	if diff := cmp.Diff([]string{"base=Example"}, o.names()); diff != "" {
		t.Errorf("catalog (-want +got)\n%s", diff)
	}
	if len(o.live.Problems()) == 0 || o.problems.Load() != 1 || o.reloads.Load() != 0 {
		t.Error("a broken overlay was not reported")
	}
	if _, ok := o.live.Get("broken"); ok {
		t.Error("a broken entry can be found")
	}
}

func TestLiveFollowsWithoutAWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOverlay(t, func(opts *provider.LiveOptions) {
			opts.Rescan = time.Minute
			opts.Watch = func(string) (provider.Changes, error) { return nil, errors.New("no more watches") }
		})
		o.start()
		o.write("extra.yaml", extra)
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, ok := o.live.Get("extra"); !ok {
			t.Error("the regular rescan did not find the file")
		}
		o.stop()
	})
}

func TestLiveWithoutAnOverlayIsTheBase(t *testing.T) {
	t.Parallel()
	live, err := provider.NewLive(t.Context(), provider.LiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(live.Start(t.Context()), live.Reload(t.Context()), live.Stop(t.Context())); err != nil {
		t.Error(err)
	}
	if _, ok := live.Get("hubspot"); !ok || live.Problems() != nil {
		t.Error("the embedded catalog is not there")
	}
}

func TestLiveRefusesADirectoryThatIsNotThereAndABrokenBase(t *testing.T) {
	t.Parallel()
	_, err := provider.NewLive(t.Context(), provider.LiveOptions{OverlayDir: filepath.Join(t.TempDir(), "gone")})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that the directory does not exist", err)
	}
	var problems provider.Problems
	if _, err := provider.NewLive(t.Context(), provider.LiveOptions{Base: files("x", "a: b")}); !errors.As(err, &problems) {
		t.Errorf("got %v, want Problems", err)
	}
}

func TestLiveHearsTheOperatingSystem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	reloaded := make(chan *provider.Catalog, 8)
	live, err := provider.NewLive(t.Context(), provider.LiveOptions{
		Base: files("base", plain), OverlayDir: dir, Debounce: time.Millisecond, Rescan: -1,
		OnReload: func(_ context.Context, c *provider.Catalog) { reloaded <- c },
	})
	if err != nil {
		t.Fatal(err)
	}
	<-reloaded
	if err := live.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Written beside and renamed, as editors and configuration management do it.
	if err := os.WriteFile(filepath.Join(dir, ".extra.tmp"), []byte(extra), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, ".extra.tmp"), filepath.Join(dir, "extra.yaml")); err != nil {
		t.Fatal(err)
	}
	select {
	case c := <-reloaded:
		if _, ok := c.Get("extra"); !ok {
			t.Error("reloaded without the new file")
		}
	case <-time.After(30 * time.Second):
		t.Error("the new file was not noticed")
	}
	if err := live.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func BenchmarkGet(b *testing.B) {
	live, err := provider.NewLive(b.Context(), provider.LiveOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		live.Get("hubspot")
	}
}

func BenchmarkLoadEmbedded(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := provider.Embedded(); err != nil {
			b.Fatal(err)
		}
	}
}
