package engine_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/store/engine"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
)

// crashRounds is how often the writer process is killed.
const crashRounds = 100

// crashEnv turns the test binary into the writer process: "sqlite path first" or "postgres url first".
const crashEnv = "PATCHBAY_CRASH_WRITER"

func TestMain(m *testing.M) {
	if target := os.Getenv(crashEnv); target != "" {
		if err := writeUntilKilled(context.Background(), strings.Fields(target)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func openTarget(ctx context.Context, kind, where string) (*engine.DB, error) {
	if kind == "postgres" {
		return engine.OpenPostgres(ctx, where, engine.PostgresOptions{})
	}
	return engine.OpenSQLite(ctx, where, engine.LiteOptions{})
}

// writeUntilKilled writes rows from several goroutines, every fourth write failing on purpose, and prints each id once the
// database has acknowledged it.
func writeUntilKilled(ctx context.Context, target []string) error {
	db, err := openTarget(ctx, target[0], target[1])
	if err != nil {
		return err
	}
	first, err := strconv.Atoi(target[2])
	if err != nil {
		return err
	}
	var out sync.Mutex
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for id := first + w; ; id += 8 {
				err := db.Write(ctx, func(ctx context.Context) error {
					if _, err := db.Exec(ctx, insertItem, id, "item"+strconv.Itoa(id)); err != nil {
						return err
					}
					if id%4 == 0 {
						return errStop
					}
					return nil
				})
				if err == nil {
					out.Lock()
					fmt.Println(id)
					out.Unlock()
				} else if !errors.Is(err, errStop) {
					panic(err)
				}
			}
		})
	}
	writers.Wait()
	return nil
}

func TestNothingAcknowledgedIsLostWhenTheWriterIsKilled(t *testing.T) {
	t.Parallel()
	both := map[string]string{"sqlite": filepath.Join(t.TempDir(), "crash.db"), "postgres": storetest.Postgres(t).PostgresURL}
	for kind, where := range both {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			db, err := openTarget(t.Context(), kind, where)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec(t.Context(), createItems); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			acknowledged := map[int]bool{}
			for round := range crashRounds {
				for _, id := range crashOnce(t, kind, where, round*1_000_000) {
					acknowledged[id] = true
				}
				if round%10 == 9 {
					checkAcknowledged(t, kind, where, acknowledged)
				}
			}
			if len(acknowledged) < crashRounds {
				t.Errorf("only %d writes in %d rounds: nothing was tested", len(acknowledged), crashRounds)
			}
			t.Logf("%d acknowledged writes over %d kills", len(acknowledged), crashRounds)
		})
	}
}

// crashOnce runs the writer, kills it at a random moment after its first acknowledgement, and returns what it acknowledged.
func crashOnce(t *testing.T, kind, where string, first int) []int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", crashEnv, kind, where, first))
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ids []int
	lines := bufio.NewReader(stdout)
	var kill *time.Timer
	for {
		text, err := lines.ReadString('\n')
		if err != nil { // a line without its end was cut off by the kill
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				t.Fatal(err)
			}
			break
		}
		id, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
		if kill == nil {
			kill = time.AfterFunc(time.Duration(rand.IntN(20_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		}
	}
	if kill == nil {
		t.Fatal("the writer ended before its first write")
	}
	_ = cmd.Wait() // it was killed
	return ids
}

func checkAcknowledged(t *testing.T, kind, where string, acknowledged map[int]bool) {
	t.Helper()
	db, err := openTarget(t.Context(), kind, where)
	if err != nil {
		t.Fatalf("reopen after a kill: %v", err)
	}
	defer func() { _ = db.Close() }()
	ids, err := engine.Collect(func(row engine.Scanner) (int, error) {
		var id int
		err := row.Scan(&id)
		return id, err
	})(db.Query(t.Context(), engine.SQL(`SELECT id FROM items`)))
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]bool{}
	for _, id := range ids {
		found[id] = true
		if id%4 == 0 {
			t.Errorf("row %d was rolled back and is there", id)
		}
	}
	for id := range acknowledged {
		if !found[id] {
			t.Errorf("row %d was acknowledged and is lost", id)
		}
	}
	if kind == "sqlite" {
		var verdict string
		if err := db.QueryRow(t.Context(), engine.SQL(`PRAGMA integrity_check`)).Scan(&verdict); err != nil || verdict != "ok" {
			t.Errorf("integrity_check: %s %v", verdict, err)
		}
	}
}
