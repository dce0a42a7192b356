//go:build linux

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// log is where --log and --log-format send what is said, besides stderr:
// engines read the last error from there. It is a file, or nil.
var log struct {
	file *os.File
	json bool
}

// openLog opens the file that record writes to.
func openLog(file, format string) (err error) {
	if format != "text" && format != "json" {
		return fmt.Errorf("log format %q is neither text nor json", format)
	}
	log.json = format == "json"
	if file != "" {
		if log.file, err = os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
			return fmt.Errorf("open log: %w", err)
		}
	}
	return nil
}

// warn says what the user should know though all goes on: in the log, if there
// is one, for stderr may be the container's.
func warn(text string) {
	if log.file == nil {
		fmt.Fprintln(os.Stderr, "container: warning:", printable(text))
	}
	record("warning", text)
}

// logError says why the program ends.
func logError(err error) {
	text := strings.ReplaceAll(err.Error(), "\n", "; ") // of several errors
	fmt.Fprintln(os.Stderr, "container:", printable(text))
	record("error", err.Error())
}

// anyBytes lets JSON have what is no UTF-8, file names for one: as U+FFFD.
var anyBytes = jsontext.AllowInvalidUTF8(true)

// record appends a line to the log: as JSON the fields that containerd reads.
func record(level, text string) {
	if log.file == nil {
		return
	}
	if log.json {
		line, _ := json.Marshal(map[string]string{"level": level, "msg": text, "time": time.Now().Format(time.RFC3339)}, anyBytes)
		log.file.Write(append(line, '\n'))
		return
	}
	fmt.Fprintf(log.file, "time=%q level=%s msg=%q\n", time.Now().Format(time.RFC3339), level, text)
}

// printable is text for a terminal and in one line: what the container's name
// or its image holds of control characters must not move the cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, text)
}
