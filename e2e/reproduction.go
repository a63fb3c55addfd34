package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// A Reproduction is a page of docs/engines: what an engine does against the HTML Standard, and a program that shows it.
type Reproduction struct {
	Name    string            // of the file, without ".md"
	Title   string            // of the page
	Program string            // for Node.js: it prints its address, and then the result
	Shows   map[string]string // the results, by engine: chromium, firefox, webkit, and wasm for our implementation
}

// ErrNoResult reports that a page was closed before it showed a result.
var ErrNoResult = errors.New("the page showed no result")

var (
	title   = regexp.MustCompile(`(?m)^# (.+)$`)
	program = regexp.MustCompile("(?ms)^```js\n(.*?)^```$")
	shown   = regexp.MustCompile("(?m)^\\| (Chromium|Firefox|WebKit|eventsource)\\S*[^|]* \\| `(.*)` \\|$")
)

// Reproductions reads the pages of a folder, in the order of their names.
func Reproductions(folder string) ([]Reproduction, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.md"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no pages: give the folder docs/engines", folder)
	}
	var all []Reproduction
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		r, err := parseReproduction(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		r.Name = strings.TrimSuffix(filepath.Base(file), ".md")
		all = append(all, r)
	}
	return all, nil
}

func parseReproduction(text string) (Reproduction, error) {
	r := Reproduction{Shows: map[string]string{}}
	programs, titles := program.FindAllStringSubmatch(text, -1), title.FindStringSubmatch(text)
	if len(programs) != 1 || titles == nil {
		return r, fmt.Errorf("%d programs in JavaScript, and the title is %q: a page has one of each", len(programs), titles)
	}
	r.Program, r.Title = programs[0][1], titles[1]
	for _, row := range shown.FindAllStringSubmatch(text, -1) {
		engine := strings.ToLower(row[1])
		if engine == "eventsource" {
			engine = "wasm"
		}
		r.Shows[engine] = row[2]
	}
	for _, engine := range []string{"chromium", "firefox", "webkit", "wasm"} {
		if !regexp.MustCompile("^(PASS|FAIL): ").MatchString(r.Shows[engine]) {
			return r, fmt.Errorf("the table does not say what %s shows", engine)
		}
	}
	return r, nil
}

// Run starts the program, has show open its page until the context is done, and returns what the page shows.
func (r Reproduction) Run(ctx context.Context, show func(ctx context.Context, url string) error) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	node := exec.CommandContext(ctx, "node", "--input-type=module", "-")
	node.Stdin = strings.NewReader(r.Program)
	node.Env = append(os.Environ(), "PORT=0")
	var failure bytes.Buffer
	node.Stderr = &failure
	output, err := node.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := node.Start(); err != nil {
		return "", fmt.Errorf("starting the program: %w: install Node.js 20 or later", err)
	}
	defer func() { cancel(); node.Wait() }()
	lines := bufio.NewScanner(output)
	if !lines.Scan() {
		node.Wait()
		return "", fmt.Errorf("the program printed no address: %s", &failure)
	}
	url := lines.Text()
	result, closed := make(chan string, 1), make(chan error, 1)
	go func() { lines.Scan(); result <- lines.Text() }()
	go func() { closed <- show(ctx, url) }()
	select {
	case text := <-result:
		cancel()
		<-closed
		if text == "" {
			return "", ErrNoResult
		}
		return text, nil
	case err := <-closed:
		return "", errors.Join(ErrNoResult, err)
	}
}
