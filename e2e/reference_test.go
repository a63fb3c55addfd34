package e2e

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// submatches returns the matches of the expression's only group, sorted.
func submatches(expression, text string) (found []string) {
	for _, match := range regexp.MustCompile(expression).FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	slices.Sort(found)
	return found
}

func between(text, begin, end string) string {
	_, text, _ = strings.Cut(text, begin)
	text, _, _ = strings.Cut(text, end)
	return text
}

// The types, the documentation and the code have the same options and the same reasons.
func TestReferenceIsComplete(t *testing.T) {
	types, options := readText(t, "../js/index.d.ts"), between(readText(t, "../docs/options.md"), "# Options", "\n## Events")
	members := submatches(`(?m)^  (\w+)\?:`, between(types, "export interface EventSourceInit", "\n}"))
	documented := submatches("`(\\w+)`", strings.Join(submatches(`(?m)^\| (`+"`"+`[^|]+) \|`, options), " "))
	if len(members) < 10 || !slices.Equal(members, documented) {
		t.Errorf("index.d.ts has\n%v\nand docs/options.md\n%v", members, documented)
	}
	taken := submatches(`(?m)^  (\w+): `, between(readText(t, "../js/init.js"), "const OPTIONS = {", "\n};"))
	if !slices.Equal(members, taken) {
		t.Errorf("index.d.ts has\n%v\nand init.js takes\n%v", members, taken)
	}
	reasons := submatches(`'([a-z-]+)'`, between(types, "export type Reason =", ";"))
	told := submatches("`([a-z-]+)`", strings.Join(submatches(`(?m)^\| (`+"`"+`[^|]+) \|`, between(readText(t, "../docs/troubleshooting.md"), "| --- | --- | --- |", "\n## ")), " "))
	if len(reasons) < 10 || !slices.Equal(reasons, told) {
		t.Errorf("index.d.ts has the reasons\n%v\nand docs/troubleshooting.md\n%v", reasons, told)
	}
}
