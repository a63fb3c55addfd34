// Package cli handles the command line for the commands in server/cmd.
package cli

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

// ErrInvalid is wrapped by every error about a flag or its environment variable.
var ErrInvalid = errors.New("invalid flags")

// Invalid wraps err, if it is not nil, with [ErrInvalid].
func Invalid(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}

// Exit prints err and exits the program: with code 0 after help, 2 for invalid flags, and 1 for other errors. If err is
// nil, it returns.
func Exit(program string, err error) {
	switch {
	case err == nil:
		return
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
	if !errors.Is(err, ErrInvalid) {
		os.Exit(1)
	}
	fmt.Fprintf(os.Stderr, "Run %s -h for help.\n", program)
	os.Exit(2)
}

// Parse sets the flags from args, and from environment variables for flags that are not in args. It returns the names
// of the flags that were set. If args ask for help, it writes about and the flags to w and returns [flag.ErrHelp].
func Parse(f *flag.FlagSet, about string, args []string, env Environment, w io.Writer) (given map[string]bool, err error) {
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		f.SetOutput(w)
		fmt.Fprintf(w, "%s\n\n", about)
		f.PrintDefaults()
		return nil, err
	case err != nil:
		return nil, Invalid(suggest(f, err))
	case f.NArg() > 0:
		return nil, Invalid(fmt.Errorf("unexpected argument %q", f.Arg(0)))
	}
	given = map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	// After args, so that help does not print secrets in variables as defaults.
	return given, Invalid(cmp.Or(env.set(f, given), env.check(f)))
}

// suggest adds the most similar flag to the error, if there is one.
func suggest(f *flag.FlagSet, err error) error {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return err
	}
	var known []string
	f.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
	if meant := nearest(name, known); meant != "" {
		return fmt.Errorf("unknown flag -%s: did you mean -%s?", name, meant)
	}
	return fmt.Errorf("unknown flag -%s", name)
}

// Prefix is the prefix of the environment variables of flags.
const Prefix = "EVENTSOURCE_"

// Variable returns the name of the environment variable for a flag.
func Variable(flag string) string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// An Environment lists variables, each as NAME=value, as [os.Environ] does. Nil has none.
type Environment []string

// Get returns the value of a variable, or an empty string.
func (e Environment) Get(name string) string {
	for _, pair := range e {
		if value, found := strings.CutPrefix(pair, name+"="); found {
			return value
		}
	}
	return ""
}

// set sets flags from variables and adds them to given. The error does not repeat the value of a variable, which may be
// a secret.
func (e Environment) set(f *flag.FlagSet, given map[string]bool) (err error) {
	f.VisitAll(func(flag *flag.Flag) {
		value := e.Get(Variable(flag.Name))
		if value == "" || given[flag.Name] {
			return
		}
		given[flag.Name] = true
		failed := f.Set(flag.Name, value)
		if failed == nil || err != nil {
			return
		}
		err = fmt.Errorf("invalid value of $%s for -%s", Variable(flag.Name), flag.Name)
		if !strings.Contains(failed.Error(), value) {
			err = fmt.Errorf("%w: %w", err, failed)
		}
	})
	return err
}

// Kubernetes, and Docker for linked containers, set variables for every service. Those of a service called eventsource or
// eventsource-server begin with our prefix.
var ofServices = regexp.MustCompile(`_SERVICE_(HOST|PORT)(_\w+)?$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$`)

// check rejects variables with our prefix that belong to no flag. They are probably misspelled.
func (e Environment) check(f *flag.FlagSet) error {
	var known []string
	f.VisitAll(func(f *flag.Flag) { known = append(known, Variable(f.Name)) })
	for _, pair := range e {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(strings.ToUpper(name), Prefix) || slices.Contains(known, name) || ofServices.MatchString(name) {
			continue
		}
		if meant := nearest(strings.ToUpper(name), known); meant != "" {
			return fmt.Errorf("unknown environment variable $%s: did you mean $%s?", name, meant)
		}
		return fmt.Errorf("unknown environment variable $%s: unset or rename it", name)
	}
	return nil
}

// nearest returns the known name with the smallest edit distance, or "" if it is too large.
func nearest(name string, known []string) string {
	best, least := "", len(name)/3+1
	for _, candidate := range known {
		if edits := distance(name, candidate); edits < least {
			best, least = candidate, edits
		}
	}
	return best
}

// distance returns the Levenshtein distance: how many letters to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// A List is a flag with comma-separated values.
type List []string

func (l *List) String() string { return strings.Join(*l, ",") }

// Set replaces the values. It ignores surrounding spaces and empty values.
func (l *List) Set(text string) error {
	*l = nil
	for element := range strings.SplitSeq(text, ",") {
		if element = strings.TrimSpace(element); element != "" {
			*l = append(*l, element)
		}
	}
	return nil
}
