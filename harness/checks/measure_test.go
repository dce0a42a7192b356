//go:build linux

package checks

import (
	"fmt"
	"os"
	"testing"
	"time"
)

func TestMeasure(t *testing.T) {
	if os.Getenv("NOPE") != "" {
		return
	}
	defer shorten(5 * time.Second)()
	for _, f := range step05 {
		v := ""
		var why string
		for n, s := range Steps {
			failure, err := f.Try(ours(s))
			switch {
			case err != nil:
				v += "?"
				why += fmt.Sprintf("\n   %d %v", n, err)
			case failure != nil:
				v += "-"
				why += fmt.Sprintf("\n   %d %s: %v / %v", n, failure.Ran, oneLine(failure.Expected), oneLine(failure.Saw))
			default:
				v += "+"
			}
		}
		fmt.Printf("MEASURE %s %s%s\n", v, f.Claim, why)
	}
}
