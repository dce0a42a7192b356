//go:build linux

package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestSignalByName(t *testing.T) {
	for name, want := range map[string]unix.Signal{
		"9": 9, "KILL": 9, "SIGKILL": 9, "kill": 9, "sigKill": 9, "TERM": 15, "15": 15,
		"IO": 29, "ABRT": 6, "CHLD": 17, "1": 1, "37": 37, "64": 64,
	} {
		got, err := signalByName(name)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
	var accepted []string
	for _, name := range []string{
		"", "0", "65", "256", "265", "-9", "+9", "9 ", " 9", "0x9", "SIG", "SIGSIGKILL", "SIG9", "KILLER", "K",
		"RTMIN", "RTMIN+3", "SIGKILL\x00",
	} {
		if sig, err := signalByName(name); err == nil {
			accepted = append(accepted, fmt.Sprintf("%q: %d", name, sig))
		}
	}
	require.Empty(t, cmp.Diff([]string(nil), accepted))
}

func FuzzSignal(f *testing.F) {
	for _, s := range []string{"9", "KILL", "SIGKILL", "RTMIN+3", "sig", "ſigkill"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		sig, err := signalByName(s)
		if err != nil {
			require.Zero(t, sig)
			require.ErrorContains(t, err, fmt.Sprintf("%q", s))
			return
		}
		require.True(t, sig >= 1 && sig <= 64, "%q is %d", s, sig)
		again, err := signalByName(fmt.Sprint(int(sig)))
		require.NoError(t, err)
		require.Equal(t, sig, again)
		if !strings.HasPrefix(strings.ToUpper(s), "SIG") && (s[0] < '0' || s[0] > '9') {
			long, err := signalByName("sig" + s)
			require.NoError(t, err)
			require.Equal(t, sig, long)
		}
	})
}
