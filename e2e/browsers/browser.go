// Package browsers starts the browsers installed on this machine, headless and with a new profile.
package browsers

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// An Engine is a kind of browser and the way to start it with a page and a new profile.
type Engine struct {
	Name     string
	binaries []string // in order of preference, after the environment variable of the engine's name
	hint     string   // how to install it
	args     func(profile, url string) []string
	display  bool // needs a display: has no headless mode
}

var engines = []Engine{
	{
		Name: "chromium",
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
		Name:     "firefox",
		binaries: []string{"firefox-esr", "firefox", "/Applications/Firefox.app/Contents/MacOS/firefox"},
		hint:     "on Debian, `apt-get install firefox-esr`",
		args: func(profile, url string) []string {
			return []string{"--headless", "--no-remote", "--profile", profile, url}
		},
	},
	{
		Name: "webkit",
		binaries: []string{"MiniBrowser", "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser",
			"/usr/lib/x86_64-linux-gnu/webkit2gtk-4.0/MiniBrowser"},
		hint:    "on Debian, `apt-get install webkit2gtk-driver xvfb`",
		args:    func(_, url string) []string { return []string{"--private", url} },
		display: true,
	},
}

// Find returns the engine chromium, firefox or webkit. It does not check whether the browser is installed.
func Find(name string) (Engine, error) {
	var names []string
	for _, e := range engines {
		if e.Name == name {
			return e, nil
		}
		names = append(names, e.Name)
	}
	return Engine{}, fmt.Errorf("unknown browser %q: use one of %s", name, strings.Join(names, ", "))
}

// Path returns the browser's path, or an error that says how to install it.
func (e Engine) Path() (string, error) {
	binaries := e.binaries
	variable := strings.ToUpper(e.Name)
	if path := os.Getenv(variable); path != "" {
		binaries = []string{path}
	}
	for _, binary := range binaries {
		if path, err := exec.LookPath(binary); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no %s (looked for %s): install it, %s, or set %s to its path",
		e.Name, strings.Join(binaries, ", "), e.hint, variable)
}

// Show runs the browser with the page until ctx is done.
func (e Engine) Show(ctx context.Context, url string) error {
	path, err := e.Path()
	if err != nil {
		return err
	}
	profile, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(profile)
	command := exec.CommandContext(ctx, path, e.args(profile, url)...)
	command.Env = append(os.Environ(), "HOME="+profile)
	if e.display {
		display, stop, err := openDisplay()
		if err != nil {
			return err
		}
		defer stop()
		command.Env = append(command.Env, "DISPLAY="+display, "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS=1")
	}
	lead(command)
	// An interrupted browser ends its processes, except those that hang.
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 10 * time.Second
	output, err := command.CombinedOutput()
	killFollowers(command)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("%s ended by itself: %v\n%s", path, err, output)
}

// openDisplay starts a virtual X server for browsers without a headless mode. Call stop after the browser has ended. It
// does not kill the server, which would leave a lock file.
func openDisplay() (display string, stop func(), err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", nil, err
	}
	defer r.Close()
	server := exec.Command("Xvfb", "-displayfd", "3", "-nolisten", "tcp", "-screen", "0", "1280x1024x24")
	server.ExtraFiles = []*os.File{w}
	err = server.Start()
	w.Close()
	if err != nil {
		return "", nil, fmt.Errorf("starting a display: %w: install it, on Debian, `apt-get install xvfb`", err)
	}
	stop = func() {
		server.Process.Signal(os.Interrupt)
		server.Wait()
	}
	number, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("starting a display: %w", err)
	}
	return ":" + strings.TrimSpace(number), stop, nil
}
