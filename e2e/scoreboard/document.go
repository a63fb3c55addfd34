package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The table is between these, so that a run can replace it.
const (
	tableBegins = "<!-- make scoreboard -->\n"
	tableEnds   = "<!-- /make scoreboard -->\n"
)

var between = regexp.MustCompile("(?s)" + tableBegins + ".*" + tableEnds)

// documented returns the board without users' own implementations.
func (b *Board) documented() *Board {
	copied := *b
	copied.Implementations = slices.DeleteFunc(slices.Clone(b.Implementations), func(i *Implementation) bool { return i.Custom })
	return &copied
}

// document writes the summary into a page of the documentation, and the picture beside it as scoreboard.svg.
func document(b *Board, page string) error {
	b = b.documented()
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	if !between.Match(text) {
		return fmt.Errorf("%s lacks the lines %q and %q", page, tableBegins, tableEnds)
	}
	text = between.ReplaceAllLiteral(text, []byte(tableBegins+b.markdown()+tableEnds))
	if err := os.WriteFile(page, text, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(filepath.Dir(page), "scoreboard.svg"), picture(b), 0o644)
}

// markdown returns the table of implementations and groups.
func (b *Board) markdown() string {
	var out strings.Builder
	header, rule := "| | total |", "| --- | --- |"
	for _, g := range b.Groups {
		header += " " + cellText(g.Title) + " |"
		rule += " --- |"
	}
	fmt.Fprintf(&out, "%s\n%s\n", header, rule)
	for _, i := range b.Implementations {
		fmt.Fprintf(&out, "| %s | **%s** %s |", cellText(i.title()), percentOrDash(i.Total), i.Total)
		for _, g := range b.Groups {
			fmt.Fprintf(&out, " %s |", i.Groups[g.ID])
		}
		out.WriteString("\n")
	}
	fmt.Fprintf(&out, "\n%s\n", b.Date)
	return out.String()
}

func percentOrDash(c Count) string {
	if c.All == 0 {
		return "–"
	}
	return percent(c)
}

// cellText escapes text for a table cell.
func cellText(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;", "*", "\\*", "[", "\\[", "`", "\\`", "_", "\\_").Replace(text)
}
