package provider

import (
	"errors"
	"fmt"

	"github.com/fsnotify/fsnotify"
)

// dirChanges turns the notices of the operating system into plain ticks.
type dirChanges struct {
	watcher *fsnotify.Watcher
	ticks   chan struct{}
}

// watchDir watches the entries of a directory, not those of directories in it.
func watchDir(dir string) (Changes, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	if err := watcher.Add(dir); err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, errors.Join(err, watcher.Close()))
	}
	w := &dirChanges{watcher: watcher, ticks: make(chan struct{}, 1)}
	go w.forward()
	return w, nil
}

// forward ends when Close closes the watcher's channels.
func (w *dirChanges) forward() {
	defer close(w.ticks)
	for {
		select {
		case _, open := <-w.watcher.Events:
			if !open {
				return
			}
		case _, open := <-w.watcher.Errors:
			// An overflow lost notices, which is a change like any other.
			if !open {
				return
			}
		}
		select {
		case w.ticks <- struct{}{}:
		default:
		}
	}
}

func (w *dirChanges) C() <-chan struct{} { return w.ticks }

func (w *dirChanges) Close() error { return w.watcher.Close() }
