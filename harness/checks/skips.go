//go:build linux

package checks

import (
	_ "embed"
	"strings"
)

//go:embed skips.txt
var skipList string

// skipReason tells why a test cannot be tried in a sandbox; "" means that it can.
func skipReason(sandbox, test string) string {
	for line := range strings.Lines(skipList) {
		if fields := strings.SplitN(strings.TrimSpace(line), " | ", 3); len(fields) == 3 && fields[0] == sandbox && fields[1] == test {
			return fields[2]
		}
	}
	return ""
}
