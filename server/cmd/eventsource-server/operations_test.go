package main

import (
	"flag"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/cli"
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// OPERATIONS.md lists all flags with their defaults, and no others.
func TestFlagsAreDocumented(t *testing.T) {
	documented := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `-([a-z0-9-]+)` \\| *`?([^|`]*?)`? *\\|")
	for _, match := range row.FindAllStringSubmatch(read(t, "OPERATIONS.md"), -1) {
		documented[match[1]] = strings.TrimSpace(match[2])
	}
	(&config{}).flags().VisitAll(func(f *flag.Flag) {
		value, found := documented[f.Name]
		if !found || value != f.DefValue {
			t.Errorf("-%s: the default is %q, documented as %q", f.Name, f.DefValue, value)
		}
		delete(documented, f.Name)
	})
	if len(documented) > 0 {
		t.Errorf("documented flags that do not exist: %v", documented)
	}
}

// The script in OPERATIONS.md makes a token that may subscribe but not publish.
func TestDocumentedToken(t *testing.T) {
	for _, name := range []string{"bash", "openssl"} {
		if _, err := exec.LookPath(name); err != nil && os.Getenv("CI") == "" {
			t.Skipf("the documented script does not run: %v", err)
		}
	}
	folder := t.TempDir()
	script := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", documented(t, "bash"))
	script.Dir = folder
	token, err := script.Output()
	if err != nil {
		t.Fatal(err)
	}
	p := launch(t, "-jwt-secret-file", filepath.Join(folder, "secret"))
	for request, want := range map[[2]string]int{
		{http.MethodHead, "?topic=news.eu"}: http.StatusOK,
		{http.MethodHead, "?topic=orders"}:  http.StatusForbidden,
		{http.MethodPost, "?topic=news.eu"}: http.StatusForbidden,
	} {
		r, err := http.NewRequestWithContext(t.Context(), request[0], p.url+"/events"+request[1], nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%v: status %d, want %d", request, response.StatusCode, want)
		}
	}
}

func TestMetricsAreDocumented(t *testing.T) {
	admin := launch(t, "-public", ">", "-tickets", "-admin", "127.0.0.1:0").admin(t)
	_, text := do(t, "GET", admin+"/metrics", "")
	var have, documented []string
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (eventsource_\S+)`).FindAllStringSubmatch(text, -1) {
		have = append(have, match[1])
	}
	for _, match := range regexp.MustCompile("(?m)^\\| `(eventsource_[a-z_]+)` \\|").FindAllStringSubmatch(read(t, "OPERATIONS.md"), -1) {
		documented = append(documented, match[1])
	}
	slices.Sort(have)
	slices.Sort(documented)
	if len(have) == 0 || !slices.Equal(have, documented) {
		t.Errorf("metrics %v, documented %v", have, documented)
	}
}

const unit = "deploy/eventsource-server.service"

// The command line in the systemd unit is valid.
func TestUnitCommandLine(t *testing.T) {
	_, line, _ := strings.Cut(read(t, unit), "\nExecStart=")
	line, _, _ = strings.Cut(line, "\n")
	c, err := configure(strings.Fields(line)[1:], environment(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(read(t, unit), "\nTimeoutStopSec=30s\n") || c.drain+2*c.grace >= 30e9 {
		t.Errorf("the unit's TimeoutStopSec is less than %v and twice %v", c.drain, c.grace)
	}
}

func TestSystemdVerifiesUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "eventsource-server.service")
	write(t, file, strings.ReplaceAll(read(t, unit), "/usr/local/bin/eventsource-server", executable))
	if output, err := exec.Command(analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || strings.Contains(string(output), file) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, output)
	}
	// "Exposure" of 2.0 and less is what systemd calls OK.
	if output, err := exec.Command(analyze, "security", "--offline=true", "--threshold=20", file).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, output)
	}
}

// Not every machine that runs tests can build the image. This checks that the files and flags in the Dockerfile exist.
func TestDockerfile(t *testing.T) {
	text := read(t, "deploy/Dockerfile")
	var pairs []string
	for _, match := range regexp.MustCompile(`(EVENTSOURCE_[A-Z_]+)=([^ \n']+)`).FindAllStringSubmatch(text, -1) {
		pairs = append(pairs, match[1], match[2])
	}
	flags := (&config{}).flags()
	var variables []string
	flags.VisitAll(func(f *flag.Flag) { variables = append(variables, cli.Variable(f.Name)) })
	for i := 0; i < len(pairs); i += 2 {
		if !slices.Contains(variables, pairs[i]) {
			t.Errorf("%s belongs to no flag", pairs[i])
		}
	}
	c, err := configure([]string{"-public", ">"}, environment(pairs...), os.Stderr)
	if err != nil || len(pairs) < 6 {
		t.Fatalf("%v, with %v", err, pairs)
	}
	logger := slog.New(slog.DiscardHandler)
	if _, err := newStreams(t.Context(), c, logger); err != nil {
		t.Error(err)
	}
	for _, match := range regexp.MustCompile(`"(-[a-z-]+)"`).FindAllStringSubmatch(text, -1) {
		if flags.Lookup(strings.TrimPrefix(match[1], "-")) == nil {
			t.Errorf("%s is not a flag", match[1])
		}
	}
	if !strings.Contains(text, "USER 65532") || !strings.Contains(text, "CGO_ENABLED=0") || !strings.Contains(text, "./server/cmd/eventsource-server") {
		t.Error("the image does not run a static binary as an unprivileged user")
	}
}
