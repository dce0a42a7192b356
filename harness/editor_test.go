package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// readSettings reads a file of .vscode, JSON with whole lines of comment.
func readSettings(t *testing.T, name string, into any) {
	data, err := os.ReadFile("../.vscode/" + name)
	require.NoError(t, err)
	data = regexp.MustCompile(`(?m)^\s*//.*$`).ReplaceAll(data, nil)
	require.NoError(t, json.Unmarshal(data, into), name)
}

// TestEditorSeesLinux keeps the settings by which editors on macOS and Windows
// know names such as syscall.Sethostname.
func TestEditorSeesLinux(t *testing.T) {
	var settings struct {
		Tools map[string]string `json:"go.toolsEnvVars"`
		Gopls struct {
			Env map[string]string `json:"build.env"`
		} `json:"gopls"`
	}
	readSettings(t, "settings.json", &settings)
	require.Equal(t, "linux", settings.Tools["GOOS"])
	require.Equal(t, "linux", settings.Gopls.Env["GOOS"])
}

// TestDefaultTaskTestsTheOpenStep runs the default task's command for a file
// of each step, with echo in the place of make.
func TestDefaultTaskTestsTheOpenStep(t *testing.T) {
	var tasks struct {
		Tasks []struct {
			Command string `json:"command"`
			Group   struct {
				Kind      string `json:"kind"`
				IsDefault bool   `json:"isDefault"`
			} `json:"group"`
		} `json:"tasks"`
	}
	readSettings(t, "tasks.json", &tasks)
	require.True(t, tasks.Tasks[0].Group.IsDefault && tasks.Tasks[0].Group.Kind == "build")
	sh, err := exec.LookPath("sh")
	if err != nil {
		return // the command is for a POSIX shell; on Windows that is in WSL
	}
	for dir, want := range map[string]string{"steps/03-mount": "test-step N=3", "harness/checks": "test-step N="} {
		command := strings.ReplaceAll(tasks.Tasks[0].Command, "${relativeFileDirname}", dir)
		out, err := exec.Command(sh, "-c", "make() { echo \"$@\"; }; "+command).Output()
		require.NoError(t, err)
		require.Equal(t, want, strings.TrimSpace(string(out)))
	}
}
