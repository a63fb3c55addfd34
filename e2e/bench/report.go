package main

import (
	"encoding/json"
	"fmt"
	"html"
	"os"
	"slices"
	"strings"
	"time"
)

// A report has the figures of every workload, by implementation.
type report struct {
	Taken     time.Time                      `json:"taken"`
	Workloads []string                       `json:"-"`
	Events    map[string]int                 `json:"events"` // of a workload
	Figures   map[string]map[string][]figure `json:"figures"`
	Starts    []starting                     `json:"starts,omitempty"`
	Memories  []memory                       `json:"memories,omitempty"`
}

var (
	libraries = []string{"eventsource", "extended-eventsource", "event-source-polyfill", "sse.js", "fetch-event-source"}
	// implementations are the columns.
	implementations = append([]string{"native", "ours", "ours without Go", "ours in a worker", "ours shared", "floor"}, libraries...)
)

func newReport() *report {
	return &report{Taken: time.Now().UTC().Truncate(time.Second), Events: map[string]int{}, Figures: map[string]map[string][]figure{}}
}

func (r *report) add(w workload, runs map[string][]figure) {
	r.Workloads = append(r.Workloads, w.name)
	r.Events[w.name], r.Figures[w.name] = w.count*w.streams(), runs
}

// A ratio is an implementation's processor time divided by native's in the same round: median, minimum and maximum.
type ratio struct{ median, least, most float64 }

// ratio returns the ratio, or the reason if a turn failed.
func (r *report) ratio(workload, name string) (ratio, string) {
	native, runs := r.Figures[workload]["native"], r.Figures[workload][name]
	var ratios []float64
	for i, run := range runs {
		if run.Failure != "" {
			return ratio{}, run.Failure
		}
		ratios = append(ratios, float64(run.Processor)/float64(native[i].Processor))
	}
	if len(ratios) == 0 {
		return ratio{}, "did not run"
	}
	slices.Sort(ratios)
	return ratio{ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1]}, ""
}

// nanoseconds returns native's median time per event.
func (r *report) nanoseconds(workload string) float64 {
	var costs []float64
	for _, run := range r.Figures[workload]["native"] {
		costs = append(costs, float64(run.Processor)/float64(r.Events[workload]))
	}
	slices.Sort(costs)
	return costs[len(costs)/2]
}

func microseconds(nanoseconds float64) string {
	if nanoseconds >= 1e6 {
		return fmt.Sprintf("%.0f µs", nanoseconds/1000)
	}
	return fmt.Sprintf("%.3g µs", nanoseconds/1000)
}

// table returns the results in Markdown, with the spread for ours only. The JSON file has all figures.
func (r *report) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| processor time of the main thread, native = 1 | native, per event | %s |\n", strings.Join(implementations[1:], " | "))
	b.WriteString("| --- |" + strings.Repeat(" --- |", len(implementations)) + "\n")
	for _, workload := range r.Workloads {
		fmt.Fprintf(&b, "| %s | %s |", workload, microseconds(r.nanoseconds(workload)))
		for _, name := range implementations[1:] {
			ratio, failure := r.ratio(workload, name)
			switch {
			case failure != "":
				fmt.Fprintf(&b, " fails: %s |", failure)
			case (name == "ours" || name == "ours without Go") && ratio.least < ratio.most:
				fmt.Fprintf(&b, " **%.2f** (%.2f to %.2f) |", ratio.median, ratio.least, ratio.most)
			default:
				fmt.Fprintf(&b, " %.2f |", ratio.median)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\n| growth of the page in megabytes | " + strings.Join(implementations, " | ") + " |\n")
	b.WriteString("| --- |" + strings.Repeat(" --- |", len(implementations)) + "\n")
	for _, workload := range r.Workloads {
		if len(r.Figures[workload]["native"]) > 1 {
			continue
		}
		fmt.Fprintf(&b, "| %s |", workload)
		for _, name := range implementations {
			fmt.Fprintf(&b, " %.1f |", float64(r.Figures[workload][name][0].Memory)/1e6)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (r *report) write(figures, plot string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(figures, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(plot, []byte(r.plot()), 0o644)
}

// The plot's dimensions, in pixels.
const (
	labelWidth = 230
	barsWidth  = 440
	barHeight  = 11
	groupGap   = 14
	plotTop    = 70
	mostRatio  = 4.0 // longer bars are cut off and labeled
)

// colors are by implementation.
var colors = [...]string{"#8b949e", "#0969da", "#218bff", "#54aeff", "#d0d7de", "#bf8700", "#a475f9", "#1a7f37", "#cf222e", "#57606a", "#8250df"}

// plot returns an SVG image with a bar for each implementation in every workload. It is legible on light and dark.
func (r *report) plot() string {
	var b strings.Builder
	group := len(implementations)*barHeight + groupGap
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12">`+"\n",
		labelWidth+barsWidth+70, plotTop+len(r.Workloads)*group)
	b.WriteString(`<rect width="100%" height="100%" fill="#fff"/>` + "\n")
	x, y := 12, 12
	for i, name := range implementations {
		if x+28+7*len(name) > labelWidth+barsWidth+70 {
			x, y = 12, y+18
		}
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="10" height="10" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n", x, y, colors[i], x+14, y+9, name)
		x += 28 + 7*len(name)
	}
	for i, workload := range r.Workloads {
		y := plotTop + i*group
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelWidth-10, y+group/2-2, html.EscapeString(workload))
		for j, name := range implementations {
			r.bar(&b, workload, name, y+j*barHeight, colors[j])
		}
	}
	one := labelWidth + barsWidth/mostRatio
	fmt.Fprintf(&b, `<line x1="%[1]v" x2="%[1]v" y1="%d" y2="%d" stroke="#8b949e" stroke-dasharray="3 3"/>`+"\n", one, plotTop-6, plotTop+len(r.Workloads)*group-groupGap)
	fmt.Fprintf(&b, `<text x="%v" y="%d" text-anchor="middle" fill="#57606a">processor time per event, native = 1</text>`+"\n</svg>\n", one, plotTop-12)
	return b.String()
}

func (r *report) bar(b *strings.Builder, workload, name string, y int, color string) {
	ratio, failure := r.ratio(workload, name)
	width := min(ratio.median, mostRatio) / mostRatio * barsWidth
	label := fmt.Sprintf("%.2f", ratio.median)
	if failure != "" {
		label = "fails"
	}
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d" font-size="9">%s</text>`+"\n",
		labelWidth, y, width, barHeight-1, color, labelWidth+width+4, y+barHeight-3, label)
}
