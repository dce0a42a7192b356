//go:build linux

package checks

import (
	_ "embed"
	"path"
	"strings"
)

//go:embed skips.txt
var skipList string

// skipReason tells why a test cannot be tried in a sandbox; "" means that it can.
func skipReason(sandbox, test string) string {
	for line := range strings.Lines(skipList) {
		fields := strings.SplitN(strings.TrimSpace(line), " | ", 3)
		if len(fields) != 3 || fields[0] != sandbox {
			continue
		}
		if listed, _ := path.Match(fields[1], test); listed {
			return fields[2]
		}
	}
	return ""
}
