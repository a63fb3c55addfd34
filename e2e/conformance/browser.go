package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// An engine is a kind of browser and how to start one that shows a page, without anything of its user's.
type engine struct {
	name     string
	binaries []string // the first that is found is taken; the environment variable of the engine's name goes before
	hint     string   // how to install it
	args     func(profile, url string) []string
	prepare  func(profile string) error
}

var engines = []engine{
	{
		name: "chromium",
		binaries: []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
			"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
			"/Applications/Chromium.app/Contents/MacOS/Chromium"},
		hint: "on Debian, `apt-get install chromium`",
		args: func(profile, url string) []string {
			return []string{"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
				"--disable-background-networking", "--disable-component-update", "--disable-sync",
				"--user-data-dir=" + profile, url}
		},
	},
	{
		name:     "firefox",
		binaries: []string{"firefox-esr", "firefox", "/Applications/Firefox.app/Contents/MacOS/firefox"},
		hint:     "on Debian, `apt-get install firefox-esr`",
		args: func(profile, url string) []string {
			return []string{"--headless", "--no-remote", "--profile", profile, url}
		},
		prepare: writeFirefoxPreferences,
	},
	{
		name: "webkit",
		binaries: []string{"MiniBrowser", "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser",
			"/usr/lib/x86_64-linux-gnu/webkit2gtk-4.0/MiniBrowser"},
		hint: "on Debian, `apt-get install webkit2gtk-driver xvfb`",
		args: func(_, url string) []string { return []string{"--private", url} },
	},
}

func writeFirefoxPreferences(profile string) error {
	preferences := `user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("app.update.enabled", false);
`
	return os.WriteFile(filepath.Join(profile, "user.js"), []byte(preferences), 0o644)
}

func findEngine(name string) (engine, error) {
	var names []string
	for _, e := range engines {
		if e.name == name {
			return e, nil
		}
		names = append(names, e.name)
	}
	return engine{}, fmt.Errorf("there is no browser %q: it is one of %s", name, strings.Join(names, ", "))
}

func (e engine) find() (string, error) {
	binaries := e.binaries
	variable := strings.ToUpper(e.name)
	if path := os.Getenv(variable); path != "" {
		binaries = []string{path}
	}
	for _, binary := range binaries {
		if path, err := exec.LookPath(binary); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no %s (looked for %s): install it, %s, or set %s to its path",
		e.name, strings.Join(binaries, ", "), e.hint, variable)
}

// show runs the browser with the page until ctx is done.
func (e engine) show(ctx context.Context, url string) error {
	path, err := e.find()
	if err != nil {
		return err
	}
	profile, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(profile)
	if e.prepare != nil {
		if err := e.prepare(profile); err != nil {
			return err
		}
	}
	command := exec.CommandContext(ctx, path, e.args(profile, url)...)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 10 * time.Second
	output, err := command.CombinedOutput()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("%s ended by itself: %v\n%s", path, err, output)
}
