package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// gopls is the language server that editors run, in a version that goes with
// this Go. It is no module of ours: go run fetches it.
const gopls = "golang.org/x/tools/gopls@v0.23.0"

// TestGoplsSeesLinux opens every file of the steps, and what the harness has for
// Linux alone, in gopls, on a host that is said to be macOS, with exactly the
// settings of .vscode: there is nothing to complain of. GOPLS=1 asks for it, as
// .ci/run does: to build gopls takes longer than all other tests here.
func TestGoplsSeesLinux(t *testing.T) {
	if os.Getenv("GOPLS") == "" {
		return // .ci/run, not make test
	}
	if out, err := exec.Command("go", "run", gopls, "version").CombinedOutput(); err != nil {
		t.Skipf("gopls cannot be had, offline? %s", out)
	}
	var settings struct {
		Gopls map[string]any `json:"gopls"`
	}
	readSettings(t, "settings.json", &settings)
	files, err := filepath.Glob("../steps/0*/*.go")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, pattern := range []string{"../harness/*.go", "../harness/*/*_linux*.go", "../harness/*/*_test.go"} {
		ours, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, ours, pattern)
		files = append(files, ours...)
	}

	server := startGopls(t, settings.Gopls)
	for _, file := range files {
		if filepath.Base(file) == "main_other.go" { // which is what macOS would see
			continue
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Empty(t, server.open(file, string(text)), file)
	}
	// The controls: a name that Linux does not have, and, on a host that is left
	// to be macOS, one that only Linux has.
	const wrong = "package main\n\nimport \"syscall\"\n\nvar _ = syscall.%s\n\nfunc main() {}\n"
	require.NotEmpty(t, server.open("../steps/01-uts/main.go", fmt.Sprintf(wrong, "NoSuchName")))
	require.Empty(t, server.open("../work_of_nobody/main.go", fmt.Sprintf(wrong, "Sethostname")))
	require.NotEmpty(t, startGopls(t, nil).open("../work_of_nobody/main.go", fmt.Sprintf(wrong, "Sethostname")))
}

// A languageServer is gopls, spoken to as an editor does.
type languageServer struct {
	t     *testing.T
	in    io.WriteCloser
	said  chan rpcMessage
	calls int
}

// An rpcMessage is one of JSON-RPC.
type rpcMessage struct {
	ID     any             `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// startGopls starts one for this repository, with settings.
func startGopls(t *testing.T, settings map[string]any) *languageServer {
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	// GOOS is what the go command that gopls calls takes for its host. The one
	// here is to build for this machine: so only gopls gets it.
	cmd := exec.Command("go", "run", "-exec", "env GOOS=darwin GOARCH=arm64", gopls, "serve")
	cmd.Dir = root
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	s := &languageServer{t: t, in: in, said: make(chan rpcMessage, 100)}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	go s.listen(out)
	s.call("initialize", map[string]any{
		"rootUri": "file://" + root, "initializationOptions": settings,
		"capabilities":     map[string]any{},
		"workspaceFolders": []any{map[string]any{"uri": "file://" + root, "name": "x"}},
	})
	s.say(map[string]any{"method": "initialized", "params": map[string]any{}})
	return s
}

// say sends a message.
func (s *languageServer) say(m map[string]any) {
	m["jsonrpc"] = "2.0"
	data, err := json.Marshal(m)
	require.NoError(s.t, err)
	_, err = fmt.Fprintf(s.in, "Content-Length: %d\r\n\r\n%s", len(data), data)
	require.NoError(s.t, err)
}

// listen reads messages until the server ends.
func (s *languageServer) listen(out io.Reader) {
	defer close(s.said)
	r := bufio.NewReader(out)
	for {
		header, err := textproto.NewReader(r).ReadMIMEHeader()
		if err != nil {
			return
		}
		n, err := strconv.Atoi(header.Get("Content-Length"))
		if err != nil {
			return
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		var m rpcMessage
		if json.Unmarshal(body, &m) == nil {
			s.said <- m
		}
	}
}

// await answers what the server asks, until it says what is waited for.
func (s *languageServer) await(wanted func(rpcMessage) bool) rpcMessage {
	deadline := time.After(2 * time.Minute)
	for {
		select {
		case m, open := <-s.said:
			require.True(s.t, open, "gopls has ended")
			if m.Method != "" && m.ID != nil { // a question: nothing is configured but what it was started with
				s.say(map[string]any{"id": m.ID, "result": nil})
			}
			if wanted(m) {
				return m
			}
		case <-deadline:
			require.Fail(s.t, "gopls says nothing")
		}
	}
}

// call sends a request, and waits for its answer.
func (s *languageServer) call(method string, params any) {
	s.calls++
	id := float64(s.calls)
	s.say(map[string]any{"id": s.calls, "method": method, "params": params})
	s.await(func(m rpcMessage) bool { return m.Method == "" && m.ID == id })
}

// open shows a file to the server, as if it had this text, and returns what it
// complains of.
func (s *languageServer) open(file, text string) (complaints []string) {
	path, err := filepath.Abs(file)
	require.NoError(s.t, err)
	uri := "file://" + path
	document := map[string]any{"uri": uri, "languageId": "go", "version": 1, "text": text}
	s.say(map[string]any{"method": "textDocument/didOpen", "params": map[string]any{"textDocument": document}})
	var published struct {
		URI         string `json:"uri"`
		Version     int    `json:"version"`
		Diagnostics []struct {
			Message string `json:"message"`
		} `json:"diagnostics"`
	}
	s.await(func(m rpcMessage) bool {
		return m.Method == "textDocument/publishDiagnostics" &&
			json.Unmarshal(m.Params, &published) == nil && published.URI == uri && published.Version == 1
	})
	for _, d := range published.Diagnostics {
		complaints = append(complaints, strings.TrimSpace(d.Message))
	}
	s.say(map[string]any{"method": "textDocument/didClose", "params": map[string]any{"textDocument": map[string]any{"uri": uri}}})
	return complaints
}
