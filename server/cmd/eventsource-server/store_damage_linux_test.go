package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// If events were damaged or lost between a crash and the next start, clients get a gap event, and later events have a new
// epoch.
func TestDamagedStore(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, folder, copied string){
		"a flipped bit": func(t *testing.T, folder, _ string) {
			files, err := filepath.Glob(filepath.Join(folder, "*.events"))
			if err != nil || len(files) != 1 {
				t.Fatalf("%v, %v", files, err)
			}
			text, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			text[len(text)*3/4] ^= 1
			write(t, files[0], string(text))
		},
		"a copy put back in place": func(t *testing.T, folder, copied string) {
			files, err := os.ReadDir(copied)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				text, err := os.ReadFile(filepath.Join(copied, f.Name()))
				if err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(folder, f.Name()), string(text))
			}
		},
		"a copy instead of the folder": func(t *testing.T, folder, copied string) {
			if err := os.RemoveAll(folder); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(copied, folder); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder, copied := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "copy")
			args := []string{"-store", "file:" + folder}
			p := startProgram(t, args...)
			given := map[string]string{}
			publish := func(events int) (last string) {
				t.Helper()
				for i := range events {
					data := fmt.Sprintf("%s/%d/%d", name, len(given), i)
					ids, err := postEvents(t.Context(), p.url, data, 1)
					if err != nil {
						t.Fatal(err)
					}
					if last = ids[0]; given[last] != "" {
						t.Errorf("%s was %q", last, given[last])
					}
					given[last] = data
				}
				return last
			}
			middle := publish(150)
			p.kill(t)
			if err := os.CopyFS(copied, os.DirFS(folder)); err != nil {
				t.Fatal(err)
			}
			p = startProgram(t, args...)
			if gap := gapOf(t, p.url, middle); gap != "" {
				t.Errorf("after a crash, %s gets the gap %q", middle, gap)
			}
			last := publish(50)
			p.kill(t)
			damage(t, folder, copied)
			p = startProgram(t, args...)
			next := publish(80)
			for _, id := range []string{middle, last} {
				if gap := gapOf(t, p.url, id); gap != "epoch" {
					t.Errorf("%s gets the gap %q", id, gap)
				}
			}
			epoch, _, _ := strings.Cut(next, "-")
			if kept := replay(t, p.url, epoch+"-0", next); len(kept) < 80+100 {
				t.Errorf("%d events are left", len(kept))
			}
			p.kill(t)
		})
	}
}
