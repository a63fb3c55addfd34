package main

import (
	"bytes"
	"fmt"
	"html"
	"strings"
	"unicode/utf8"
)

// badge draws a badge for a README: a label and a percentage.
func badge(label string, c Count) []byte {
	text, color := "not measured", "#6b7478"
	if c.All > 0 {
		text, color = percent(c), colorOf(c)
	}
	left, right := badgeWidth(label), badgeWidth(text)
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="20" role="img" aria-label="%s: %s">
<title>%[2]s: %[3]s</title>
<clipPath id="r"><rect width="%[1]d" height="20" rx="3"/></clipPath>
<g clip-path="url(#r)"><rect width="%[4]d" height="20" fill="#3b4347"/><rect x="%[4]d" width="%[5]d" height="20" fill="%[6]s"/></g>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11"><text x="%[7]d" y="14">%[2]s</text><text x="%[8]d" y="14">%[3]s</text></g>
</svg>
`, left+right, html.EscapeString(label), html.EscapeString(text), left, right, color, left/2, left+right/2)
	return out.Bytes()
}

// badgeWidth returns the approximate width of the text in pixels.
func badgeWidth(text string) int { return utf8.RuneCountInString(text)*7 + 12 }

// percent never rounds up to 100 %, or down to 0 %.
func percent(c Count) string {
	tenths := c.Passed * 1000 / c.All
	if tenths == 1000 || tenths == 0 && c.Passed == 0 {
		return fmt.Sprintf("%d%%", tenths/10)
	}
	return fmt.Sprintf("%d.%d%%", max(tenths, 1)/10, max(tenths, 1)%10)
}

func colorOf(c Count) string {
	switch class(c) {
	case "all":
		return "#0d6b34"
	case "some":
		return "#7d4b00"
	}
	return "#b0202b"
}

const (
	rowHeight  = 26
	nameWidth  = 290
	barWidth   = 330
	valueWidth = 140
)

// picture draws the totals as a bar chart, for a README.
func picture(b *Board) []byte {
	width, height := nameWidth+barWidth+valueWidth, len(b.Implementations)*rowHeight+44
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-label="How much of the HTML Standard each EventSource does">
<style>
text { font: 13px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #182023; } .quiet { fill: #556165; } .back { fill: #fff; } .bar { fill: #e3e8e8; }
.all { fill: #0d6b34; } .some { fill: #b97a12; } .few { fill: #b0202b; } .none { fill: none; }
@media (prefers-color-scheme: dark) { text { fill: #e6ebea; } .quiet { fill: #9fabad; } .back { fill: #111517; } .bar { fill: #2a3236; } .all { fill: #3fa768; } .some { fill: #d3993a; } .few { fill: #d9545e; } }
</style>
<rect class="back" width="%[1]d" height="%[2]d" rx="8"/>
<text class="quiet" x="12" y="24">Scenarios of the HTML Standard that pass</text>
`, width, height)
	for n, i := range b.Implementations {
		y := 36 + n*rowHeight
		fmt.Fprintf(&out, "<text x=\"12\" y=\"%d\">%s</text>", y+16, html.EscapeString(shorten(i.title(), 42)))
		fmt.Fprintf(&out, `<rect class="bar" x="%d" y="%d" width="%d" height="14" rx="3"/>`, nameWidth, y+5, barWidth)
		if i.Total.All > 0 {
			fmt.Fprintf(&out, `<rect class="%s" x="%d" y="%d" width="%d" height="14" rx="3"/>`,
				class(i.Total), nameWidth, y+5, i.Total.Passed*barWidth/i.Total.All)
			fmt.Fprintf(&out, `<text x="%d" y="%d">%s <tspan class="quiet">%s</tspan></text>`,
				nameWidth+barWidth+10, y+16, percent(i.Total), i.Total)
		}
		out.WriteString("\n")
	}
	out.WriteString("</svg>\n")
	return []byte(out.String())
}

// title returns the implementation's name and version, or the runtime that it is part of.
func (i *Implementation) title() string {
	title := strings.TrimSpace(i.Name + " " + i.Version)
	if strings.HasPrefix(i.Runtime, "Chromium") || strings.HasPrefix(i.Runtime, i.Name+" ") {
		return title
	}
	return title + " in " + i.Runtime
}

func shorten(text string, n int) string {
	runes := []rune(text)
	if len(runes) <= n {
		return text
	}
	return string(runes[:n-1]) + "…"
}
