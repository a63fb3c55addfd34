package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	links = regexp.MustCompile(`(?:href|src)="([^"]*)"`)
	ids   = regexp.MustCompile(`id="([^"]*)"`)
)

// Every link of a page leads to a file, and its fragment to a heading there. build checks the links to the project's files.
func TestLinks(t *testing.T) {
	out := t.TempDir()
	if err := build("../..", out); err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(out, "*.html"))
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages: %v", len(pages), err)
	}
	headings := map[string]bool{}
	for _, page := range pages {
		for _, id := range ids.FindAllStringSubmatch(read(t, page), -1) {
			headings[filepath.Base(page)+"#"+id[1]] = true
		}
	}
	for _, page := range pages {
		for _, link := range links.FindAllStringSubmatch(read(t, page), -1) {
			file, fragment, _ := strings.Cut(link[1], "#")
			if strings.Contains(file, ":") {
				continue
			}
			if file == "" {
				file = filepath.Base(page)
			}
			if _, err := os.Stat(filepath.Join(out, file)); err != nil {
				t.Errorf("%s links to %s, which does not exist", filepath.Base(page), link[1])
			} else if fragment != "" && !headings[file+"#"+fragment] {
				t.Errorf("%s links to %s, which has no such heading", filepath.Base(page), link[1])
			}
		}
	}
}

// A broken link is an error that names the page and the link.
func TestBrokenLink(t *testing.T) {
	s := &site{root: t.TempDir()}
	if err := os.WriteFile(filepath.Join(s.root, "a.md"), []byte("# A\n\n[b](b.md)\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.render(&page{file: "a.md"}); err == nil || !strings.Contains(err.Error(), "b.md") {
		t.Errorf("rendering: %v, want an error about b.md", err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
