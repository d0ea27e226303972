package function

import (
	"fmt"
	"slices"
	"strings"
)

// Differences says in words what a change alters, for a person who is about to confirm it. A new, a deleted and an unchanged
// function have none.
func (c Change) Differences() []string {
	if c.Old == nil || c.New == nil {
		return nil
	}
	old, next := c.Old, c.New
	var all []string
	from := func(what, before, after string) {
		if before != after {
			all = append(all, fmt.Sprintf("%s: %s → %s", what, orNothing(before), orNothing(after)))
		}
	}
	if old.JSHash != next.JSHash || old.TSHash != next.TSHash {
		all = append(all, "code")
	}
	from("frequency", old.Frequency, next.Frequency)
	from("sync type", old.SyncType, next.SyncType)
	from("starts by itself", yesNo(old.AutoStart), yesNo(next.AutoStart))
	from("tracks deletes", yesNo(old.TrackDeletes), yesNo(next.TrackDeletes))
	from("event", old.Event, next.Event)
	from("input", old.Input, next.Input)
	from("managed as", old.Source, next.Source)
	for _, list := range []struct {
		what          string
		before, after []string
	}{
		{"models", old.Models, next.Models}, {"scopes", old.Scopes, next.Scopes},
		{"webhook subscriptions", old.WebhookSubscriptions, next.WebhookSubscriptions}, {"features", old.Features, next.Features},
	} {
		if text := listDifference(list.before, list.after); text != "" {
			all = append(all, list.what+": "+text)
		}
	}
	before, after := old.Schemas(), next.Schemas()
	for _, model := range next.Models {
		if before[model] != nil && string(before[model]) != string(after[model]) {
			all = append(all, "schema of "+model)
		}
	}
	return all
}

func orNothing(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// listDifference is "+added -removed".
func listDifference(before, after []string) string {
	var parts []string
	for _, name := range after {
		if !slices.Contains(before, name) {
			parts = append(parts, "+"+name)
		}
	}
	for _, name := range before {
		if !slices.Contains(after, name) {
			parts = append(parts, "-"+name)
		}
	}
	return strings.Join(parts, " ")
}
