//go:build linux

package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The verbs that only look.

// version is that of this runtime, in the form that engines parse.
const version = "1.0.0"

// features says what this runtime can do, see the runtime-spec's features.md.
//
//go:embed features.json
var features string

// printJSON prints what programs read.
func printJSON(v any) error {
	err := json.MarshalWrite(os.Stdout, v, anyBytes, json.Deterministic(true), jsontext.WithIndent("  "))
	fmt.Println()
	return err
}

// printState prints all that is known of one container: the runtime-spec's
// state, and what is remembered besides.
func printState(root, id string) error {
	s, err := loadState(root, id)
	if err != nil {
		return err
	}
	return printJSON(s)
}

// list prints all containers below root: as a table, as JSON, or their ids. One
// whose state cannot be read is listed as broken; it can be deleted by force.
func list(root, format string, quiet bool) error {
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("list containers: %w", err)
	}
	var all []*state
	for _, entry := range entries {
		if s, _ := loadState(root, entry.Name()); s != nil { // not deleted since
			all = append(all, s)
			if quiet {
				fmt.Println(s.ID)
			}
		}
	}
	if quiet {
		return nil
	} else if format == "json" {
		return printJSON(all)
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER")
	for _, s := range all {
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t%d\n", s.ID, s.Pid, s.Status, printable(s.Bundle), s.Created.Format(time.RFC3339), s.Owner)
	}
	return table.Flush()
}

// ps prints the processes of a container by their numbers on the host: as JSON,
// which containerd reads, or with their commands.
func ps(root, id, format string) error {
	s, err := loadState(root, id)
	if err != nil {
		return err
	}
	pids, err := s.Cgroup.processes()
	if err != nil {
		return fmt.Errorf("list processes of container %s: %w", id, err)
	}
	if format == "json" {
		return printJSON(pids)
	}
	fmt.Println("    PID COMMAND")
	for _, pid := range pids {
		words, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		fmt.Printf("%7d %s\n", pid, printable(strings.TrimRight(strings.ReplaceAll(string(words), "\x00", " "), " ")))
	}
	return nil
}
