package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A ciRun is the result of a script of .ci that finds only basic commands and stand-ins in its PATH.
type ciRun struct {
	output string
	err    error
	noted  string // the notes that make test prints at its end
}

func runCI(t *testing.T, script string, standIns map[string]string, env ...string) ciRun {
	t.Helper()
	notes := filepath.Join(t.TempDir(), "skipped")
	cmd := ciCommand(t, standIns, strings.Fields(script)...)
	cmd.Env = append(append(cmd.Env, "SKIPPED="+notes), env...)
	output, err := cmd.CombinedOutput()
	noted, _ := os.ReadFile(notes)
	return ciRun{string(output), err, string(noted)}
}

func ciCommand(t *testing.T, standIns map[string]string, args ...string) *exec.Cmd {
	t.Helper()
	folder := t.TempDir()
	for _, name := range []string{"bash", "sh", "dirname", "mkdir", "cat", "sleep", "env"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, replaced := standIns[name]; replaced {
			continue
		}
		if err := os.Symlink(path, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, code := range standIns {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"+code+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join("../../.ci", args[0]), args[1:]...)
	cmd.Env = []string{"PATH=" + folder}
	return cmd
}

// debian has stand-ins for root's id and for apt-get, which prints its arguments.
var debian = map[string]string{"id": "echo 0", "apt-get": `echo "apt-get $*"`}

func TestMissingToolsAreNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ script, skipped, get string }{
		{"chromium", "all browser tests", "apt-get install chromium"},
		{"node", "the tests of the npm package", "Install Node.js 20.19"},
		{"proxies", "proxies that are not installed", "caddy"}, // the others may be in /usr/sbin,
	} {
		for name, where := range map[string]struct {
			standIns map[string]string
			env      string
		}{
			"without root":         {map[string]string{"id": "echo 1000", "apt-get": "echo called"}, "INSTALL=yes"},
			"INSTALL=no":           {debian, "INSTALL=no"},
			"another distribution": {map[string]string{"id": "echo 0"}, "INSTALL=yes"},
		} {
			run := runCI(t, tt.script, where.standIns, where.env)
			if run.err != nil || !strings.Contains(run.noted, tt.skipped) || !strings.Contains(run.noted, tt.get) || run.noted != run.output {
				t.Errorf("%s, %s: %v\n%s\nnoted:\n%s", tt.script, name, run.err, run.output, run.noted)
			}
			if run := runCI(t, tt.script, where.standIns, where.env, "CI=true"); run.err == nil || !strings.Contains(run.output, tt.get) {
				t.Errorf("%s, %s, in CI: %v\n%s", tt.script, name, run.err, run.output)
			}
		}
	}
}

func TestWordsRequireCompiler(t *testing.T) {
	t.Parallel()
	standIns := map[string]string{"go": "echo missing-compiler -O2"}
	const get = "Install a C compiler"
	if run := runCI(t, "words", standIns); run.err != nil || !strings.Contains(run.noted, get) || run.noted != run.output {
		t.Errorf("%v\n%s\nnoted:\n%s", run.err, run.output, run.noted)
	}
	if run := runCI(t, "words", standIns, "CI=true"); run.err == nil || !strings.Contains(run.output, get) {
		t.Errorf("in CI: %v\n%s", run.err, run.output)
	}
}

func TestInstallationsAreExplained(t *testing.T) {
	t.Parallel()
	for script, why := range map[string]string{"chromium": "the browser tests need it", "proxies": "the tests of the server behind proxies need them"} {
		run := runCI(t, script, debian)
		said, called, _ := strings.Cut(run.output, ": "+why+".\n")
		packages, says := strings.CutPrefix(strings.TrimSuffix(said, " by apt-get"), "Installing ")
		want := "apt-get update -q\napt-get install -q -y --no-install-recommends " + packages + "\n"
		if run.err != nil || !says || called != want || run.noted != "" {
			t.Errorf("%s: %v\n%s", script, run.err, run.output)
		}
	}
}

// If Node.js is too old, npm installs one in the project's folder.
func TestNodeIsInstalledInProject(t *testing.T) {
	t.Parallel()
	run := runCI(t, "node", map[string]string{"id": "echo 1000", "node": "exit 1", "npm": `echo "npm $*"`, "mkdir": ""})
	first, rest, _ := strings.Cut(run.output, "\n")
	if first != "Installing Node.js 22 by npm into dist/tools: the tests of the npm package need 20.19 or later." {
		t.Errorf("printed %q", first)
	}
	if !strings.HasPrefix(rest, "npm install --prefix ") || !strings.Contains(rest, "/dist/tools ") || strings.Contains(rest, "--global") {
		t.Errorf("ran %q", rest)
	}
}

func TestInstalledToolsAreUsed(t *testing.T) {
	t.Parallel()
	standIns := map[string]string{"chromium": "", "node": "", "npm": ""}
	for _, program := range []string{"nginx", "haproxy", "apache2", "caddy", "varnishd"} {
		standIns[program] = ""
	}
	for _, script := range []string{"chromium", "chromium find", "node", "proxies"} {
		if run := runCI(t, script, standIns); run.err != nil || run.output != "" || run.noted != "" {
			t.Errorf("%s: %v, printed %q, noted %q, want nothing", script, run.err, run.output, run.noted)
		}
	}
	if run := runCI(t, "chromium find", debian); run.err == nil || run.output != "" {
		t.Errorf("without Chromium: %v, %q", run.err, run.output)
	}
}

// If a command takes long, progress prints its description, and then the time it has been running. The exit status is the
// command's.
func TestProgress(t *testing.T) {
	t.Parallel()
	cmd := ciCommand(t, map[string]string{"sleep": ""}, "progress", "Slow", "sh", "-c", "cat; exit 3")
	end, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	for _, want := range []string{"Slow ...", "Slow ... 30 s", "Slow ... 60 s"} {
		if !lines.Scan() || lines.Text() != want {
			t.Errorf("printed %q, want %q", lines.Text(), want)
		}
	}
	end.Close()
	for lines.Scan() {
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Error(err)
	}
}

func TestProgressOfQuickCommand(t *testing.T) {
	t.Parallel()
	cmd := ciCommand(t, nil, "progress", "Quick", "sh", "-c", "echo done")
	if output, err := cmd.CombinedOutput(); err != nil || string(output) != "done\n" {
		t.Errorf("printed %q (%v), want only the output of the command", output, err)
	}
}

// A release has the same version in the package, the changelog and the tag. It is refused if anything is missing.
func TestRelease(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	run := func(name string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = folder
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		output, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(output)), err
	}
	must := func(name string, args ...string) string {
		t.Helper()
		output, err := run(name, args...)
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, output)
		}
		return output
	}
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	for _, script := range []string{"release", "version"} {
		content, err := os.ReadFile(filepath.Join("../../.ci", script))
		if err != nil {
			t.Fatal(err)
		}
		write(filepath.Join(".ci", script), string(content))
	}
	write("js/package.json", "{\n  \"name\": \"x\",\n  \"version\": \"0.1.0\",\n  \"engines\": {}\n}\n")
	write("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n\n- New.\n\n## [0.1.0] - 2026-01-01\n\n- First.\n")
	must("git", "init", "--quiet")
	must("git", "add", ".")
	must("git", "commit", "--quiet", "--message", "first")
	if version := must(".ci/version"); !strings.HasPrefix(version, "v0.1.0+") {
		t.Errorf("before the release, the version is %s", version)
	}
	for _, version := range []string{"", "v0.2.0", "0.2", "0.2.0; echo"} {
		if output, err := run(".ci/release", version); err == nil || !strings.Contains(output, "is not a version") {
			t.Errorf("releasing %q: %v, %s", version, err, output)
		}
	}
	must(".ci/release", "0.2.0")
	if version := must(".ci/version"); version != "v0.2.0" {
		t.Errorf("the release has the version %s", version)
	}
	if changelog := must("cat", "CHANGELOG.md"); !strings.Contains(changelog, "## [Unreleased]\n\n## [0.2.0] - 2") {
		t.Errorf("the changelog is\n%s", changelog)
	}
	for version, want := range map[string]string{"0.2.0": "exists", "0.3.0": "says nothing"} {
		if output, err := run(".ci/release", version); err == nil || !strings.Contains(output, want) {
			t.Errorf("releasing %s: %v, %s, want %q", version, err, output, want)
		}
	}
	write("new", "")
	if version := must(".ci/version"); version == "v0.2.0" {
		t.Error("a changed tree has the version of the release")
	}
	if output, err := run(".ci/release", "0.3.0"); err == nil || !strings.Contains(output, "commit or stash") {
		t.Errorf("releasing a changed tree: %v, %s", err, output)
	}
}
