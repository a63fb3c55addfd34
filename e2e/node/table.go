package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// printTable writes a table in Markdown: a row for each file of scenarios, a column for each implementation.
func printTable(w io.Writer, rows []tested) {
	header := "| passed/applicable |"
	for _, t := range rows {
		header += fmt.Sprintf(" %s %s, %s |", t.Name, t.Version, t.Runtime)
	}
	fmt.Fprintf(w, "%s\n|%s\n", header, strings.Repeat(" --- |", len(rows)+1))
	for _, file := range append(files(rows), "") {
		line := "| " + file + " |"
		if file == "" {
			line = "| all |"
		}
		for _, t := range rows {
			line += " " + t.score(file) + " |"
		}
		fmt.Fprintln(w, line)
	}
}

// files returns the files with a scenario that applies to one of the implementations.
func files(rows []tested) []string {
	found := map[string]bool{}
	for _, t := range rows {
		for id := range t.Results {
			file, _, _ := strings.Cut(id, "/")
			found[file] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// score returns "passed/applicable" for a file, or for all files if file is empty.
func (t tested) score(file string) string {
	good, all := 0, 0
	for id, r := range t.Results {
		if file != "" && !strings.HasPrefix(id, file+"/") {
			continue
		}
		all++
		if passed(r) {
			good++
		}
	}
	if all == 0 {
		return "–"
	}
	return fmt.Sprintf("%d/%d", good, all)
}

// printFailures writes the failures, and their reasons if known.
func printFailures(w io.Writer, rows []tested) {
	for _, t := range rows {
		for _, id := range slices.Sorted(maps.Keys(t.Results)) {
			if r := t.Results[id]; !passed(r) {
				fmt.Fprintf(w, "\n%s on %s %s, %s\n%s%s\n", id, t.Name, t.Version, t.Runtime, r.Failure, r.Reason)
			}
		}
	}
}
