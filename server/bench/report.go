package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// A report is the content of the JSON file.
type report struct {
	Time     time.Time
	Machine  string
	Plan     plan
	Versions map[string]string
	Results  []*result
	Missing  map[string]string `json:",omitempty"`
}

func newReport(m *measurement) report {
	r := report{
		Time:     time.Now().UTC().Truncate(time.Second),
		Machine:  fmt.Sprintf("%s/%s, %d processors, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()),
		Plan:     m.plan,
		Versions: map[string]string{},
		Results:  m.results,
		Missing:  m.missing,
	}
	build, ok := debug.ReadBuildInfo()
	for _, c := range contestants {
		if i := slices.IndexFunc(build.Deps, func(d *debug.Module) bool { return d.Path == c.module }); ok && i >= 0 && c.module != ours {
			r.Versions[c.name] = build.Deps[i].Version
		}
	}
	return r
}

func (r report) write(file string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// print writes a Markdown table for each figure, with the median and, in brackets, the minimum and maximum of the rounds.
// Some tables add the median ratio to raw.
func (r report) print(w io.Writer) {
	fmt.Fprintf(w, "%s. %d rounds; medians (minimum to maximum).\n", r.Machine, r.Plan.Rounds)
	for _, f := range []figure{cpuPerDelivery, deliveryRate, mallocsPerEvent} {
		r.table(w, f, r.Plan.Windows)
	}
	for _, f := range []figure{latencyMedian, latencyPercentile, memoryPerClient} {
		r.table(w, f, []int{0})
	}
	for _, c := range contestants {
		if why, ok := r.Missing[c.name]; ok {
			fmt.Fprintf(w, "\n%s: %s\n", c.name, why)
		}
	}
}

func (r report) table(w io.Writer, f figure, windows []int) {
	var columns [][2]int
	head := "| " + string(f)
	for _, window := range windows {
		for _, connections := range r.Plan.Connections {
			if slices.ContainsFunc(r.Results, func(x *result) bool { return x.is(f, connections, window) }) {
				columns = append(columns, [2]int{connections, window})
				head += fmt.Sprintf(" | %s", columnTitle(connections, window))
			}
		}
	}
	if len(columns) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s |\n|%s\n", head, strings.Repeat(" --- |", len(columns)+1))
	for _, c := range contestants {
		if row, any := r.row(f, c.name, columns); any {
			fmt.Fprintf(w, "| %s%s |\n", c.name, row)
		}
	}
}

func columnTitle(connections, window int) string {
	if window == 0 {
		return fmt.Sprintf("%d connections", connections)
	}
	return fmt.Sprintf("%d connections, window %d", connections, window)
}

func (r report) row(f figure, contestant string, columns [][2]int) (row string, any bool) {
	for _, column := range columns {
		own, raw := r.result(f, contestant, column), r.result(f, "raw", column)
		if own == nil {
			row += " | "
			continue
		}
		any = true
		row += fmt.Sprintf(" | %s (%s to %s)", short(median(own.Values)), short(slices.Min(own.Values)), short(slices.Max(own.Values)))
		if raw != nil && f != memoryPerClient && contestant != "raw" {
			row += fmt.Sprintf(" ×%.2f", median(ratios(own, raw)))
		}
	}
	return row, any
}

func (r report) result(f figure, contestant string, column [2]int) *result {
	for _, x := range r.Results {
		if x.Contestant == contestant && x.is(f, column[0], column[1]) {
			return x
		}
	}
	return nil
}

func (x *result) is(f figure, connections, window int) bool {
	return x.Figure == f && x.Connections == connections && x.Window == window
}

// ratios returns the ratios of values of the same round, for rounds that both have.
func ratios(a, b *result) (out []float64) {
	for i, round := range a.Rounds {
		if k := slices.Index(b.Rounds, round); k >= 0 {
			out = append(out, a.Values[i]/b.Values[k])
		}
	}
	return out
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[half-1] + sorted[half]) / 2
	}
	return sorted[half]
}

// short formats a value with three significant digits.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.0f k", v/1e3)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.4f", v)
}
