package matrix

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// A section of docs/getting-started.md: the commands that make a project, and the files to write.
type section struct {
	commands []string
	files    map[string]string
}

var (
	heading  = regexp.MustCompile(`(?m)^## (.*)$`)
	commands = regexp.MustCompile("(?s)```sh\n(.*?)```")
	file     = regexp.MustCompile("(?s)\n`([^`\n]+)`[^\n]*(?:\n[^\n`]+)*\n\n```\\w+\n(.*?)```")
)

// readSections returns the sections of a page of the documentation by their headings.
func readSections(t *testing.T, page string) map[string]section {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]section{}
	headings := heading.FindAllSubmatchIndex(text, -1)
	for i, at := range headings {
		end := len(text)
		if i+1 < len(headings) {
			end = headings[i+1][0]
		}
		sections[string(text[at[2]:at[3]])] = parseSection(string(text[at[1]:end]))
	}
	return sections
}

func parseSection(text string) section {
	s := section{files: map[string]string{}}
	if match := commands.FindStringSubmatch(text); match != nil {
		s.commands = strings.Split(strings.TrimSpace(match[1]), "\n")
	}
	for _, match := range file.FindAllStringSubmatch(text, -1) {
		s.files[match[1]] = match[2]
	}
	return s
}

// gettingStarted returns the sections that make projects. Next.js gets the hook from React's section.
func gettingStarted(t *testing.T) map[string]section {
	sections := readSections(t, "getting-started.md")
	sections["Next.js"].files["src/useEventSource.ts"] = sections["React"].files["src/useEventSource.ts"]
	return sections
}

// Each section makes a project in four commands, and the matrix uses every snippet in it.
func TestSections(t *testing.T) {
	for name, files := range map[string]int{"Plain HTML": 1, "React": 2, "Vue": 1, "Svelte": 1, "Angular": 1, "Next.js": 3} {
		s := gettingStarted(t)[name]
		if len(s.commands) != 4 || len(s.files) != files {
			t.Errorf("%s has %d commands and the files %v", name, len(s.commands), s.files)
		}
	}
}

func pageWith(script string) string { return fmt.Sprintf(document, script) }
