// Command site renders the project's Markdown pages to static HTML. Run it by make docs.
package main

import (
	"bytes"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io/fs"
	"log"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	chroma "github.com/alecthomas/chroma/v2/formatters/html"
	"github.com/yuin/goldmark"
	highlighting "github.com/yuin/goldmark-highlighting/v2"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// source is where readers find the files that are not pages.
const source = "https://github.com/eventsource-wasm/eventsource-wasm/blob/main/"

// A chapter is a group of pages in the navigation. Paths are relative to the project's root.
type chapter struct {
	title string
	pages []string
}

var chapters = []chapter{
	{"", []string{"README.md"}},
	{"In the page", []string{
		"docs/getting-started.md", "docs/options.md", "docs/headers.md", "docs/reconnecting.md", "docs/llm.md", "docs/shared.md",
		"docs/bundlers.md", "docs/csp.md", "docs/testing.md", "docs/migrating.md", "docs/troubleshooting.md",
	}},
	{"In Go", []string{"docs/go-client.md", "docs/server.md", "server/OPERATIONS.md", "server/STORES.md"}},
	{"Reference", []string{"docs/differences.md", "docs/performance.md", "docs/conformance.md", "docs/engines.md", "docs/architecture.md", "docs/toolchains.md"}},
}

// below maps a page to a folder whose pages the navigation lists only on that page and on each other.
var below = map[string]string{"docs/engines.md": "docs/engines"}

//go:embed page.html
var pageHTML string

//go:embed style.css
var style []byte

var layout = template.Must(template.New("page").Parse(pageHTML))

func main() {
	log.SetFlags(0)
	log.SetPrefix("site: ")
	root := flag.String("root", "../..", "the project's `folder`")
	out := flag.String("out", "../../dist/docs", "`folder` to write")
	flag.Parse()
	if err := build(*root, *out); err != nil {
		log.Fatal(err)
	}
}

// A page is a Markdown file.
type page struct {
	file  string // in the project
	title string
	html  template.HTML
}

// build renders all pages. It fails if a link points to something that does not exist.
func build(root, out string) error {
	s := &site{root: root, pages: map[string]*page{}, below: map[string][]string{}}
	for _, c := range chapters {
		for _, file := range c.pages {
			if _, err := os.Stat(filepath.Join(root, file)); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("the navigation lists %s, which does not exist", file)
			}
			s.pages[file] = &page{file: file}
			if err := s.addBelow(file); err != nil {
				return err
			}
		}
	}
	for _, p := range s.pages {
		if err := s.render(p); err != nil {
			return fmt.Errorf("%s: %w", p.file, err)
		}
	}
	for _, p := range s.pages {
		if err := s.write(out, p); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(out, "style.css"), style, 0o644); err != nil {
		return err
	}
	return s.copyImages(out)
}

// A site has all pages.
type site struct {
	root   string
	pages  map[string]*page
	below  map[string][]string // the pages of the folder below a page
	images []string
}

// addBelow adds the pages of the folder below a page.
func (s *site) addBelow(file string) error {
	if below[file] == "" {
		return nil
	}
	found, err := filepath.Glob(filepath.Join(s.root, below[file], "*.md"))
	if err != nil {
		return err
	}
	for _, name := range found {
		name = path.Join(below[file], filepath.Base(name))
		s.pages[name] = &page{file: name}
		s.below[file] = append(s.below[file], name)
	}
	return nil
}

// output returns the name of a page's HTML file.
func output(file string) string {
	if file == "README.md" {
		return "index.html"
	}
	return strings.ToLower(strings.TrimSuffix(path.Base(file), ".md")) + ".html"
}

func (s *site) render(p *page) error {
	markdown, err := os.ReadFile(filepath.Join(s.root, p.file))
	if err != nil {
		return err
	}
	links := &linker{site: s, page: p}
	md := goldmark.New(
		goldmark.WithExtensions(extension.GFM, highlighting.NewHighlighting(
			highlighting.WithFormatOptions(chroma.WithClasses(true)))),
		goldmark.WithParserOptions(parser.WithAutoHeadingID(), parser.WithASTTransformers(util.Prioritized(links, 100))),
	)
	var html bytes.Buffer
	if err := md.Convert(markdown, &html); err != nil {
		return err
	}
	p.html = template.HTML(html.String())
	return errors.Join(links.broken...)
}

// A linker rewrites the links of a page to other pages or to the repository, and records the title.
type linker struct {
	site   *site
	page   *page
	broken []error
}

func (l *linker) Transform(doc *ast.Document, reader text.Reader, _ parser.Context) {
	ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			if n.Level == 1 && l.page.title == "" {
				l.page.title = string(n.Lines().Value(reader.Source()))
			}
		case *ast.Link:
			n.Destination = []byte(l.resolve(string(n.Destination), false))
		case *ast.Image:
			n.Destination = []byte(l.resolve(string(n.Destination), true))
		}
		return ast.WalkContinue, nil
	})
}

func (l *linker) resolve(destination string, image bool) string {
	u, err := url.Parse(destination)
	if err != nil || u.Scheme != "" || u.Path == "" {
		return destination
	}
	file := path.Join(path.Dir(l.page.file), u.Path)
	info, err := os.Stat(filepath.Join(l.site.root, file))
	if err != nil {
		l.broken = append(l.broken, fmt.Errorf("broken link %s: no such file", destination))
		return destination
	}
	switch {
	case image:
		l.site.images = append(l.site.images, file)
		return path.Base(file)
	case l.site.pages[file] != nil:
		u.Path = output(file)
		return u.String()
	case info.IsDir():
		return strings.Replace(source, "/blob/", "/tree/", 1) + file
	}
	return source + file
}

// An entry is a line of the navigation.
type entry struct {
	Title, Chapter, Link string
	Current, Below       bool
}

func (s *site) write(out string, p *page) error {
	var navigation []entry
	for _, c := range chapters {
		for i, file := range c.pages {
			e := entry{Title: s.pages[file].title, Link: output(file), Current: file == p.file}
			if i == 0 {
				e.Chapter = c.title
			}
			navigation = append(navigation, e)
			if file != p.file && !slices.Contains(s.below[file], p.file) {
				continue
			}
			for _, name := range s.below[file] {
				navigation = append(navigation, entry{Title: s.pages[name].title, Link: output(name), Current: name == p.file, Below: true})
			}
		}
	}
	var html bytes.Buffer
	err := layout.Execute(&html, map[string]any{"Title": p.title, "Body": p.html, "Navigation": navigation})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, output(p.file)), html.Bytes(), 0o644)
}

func (s *site) copyImages(out string) error {
	for _, file := range s.images {
		image, err := os.ReadFile(filepath.Join(s.root, file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, path.Base(file)), image, 0o644); err != nil {
			return err
		}
	}
	return nil
}
