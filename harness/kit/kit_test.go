package kit

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTheSameFilesGiveTheSameBytes, whenever they were made and whosever they
// are.
func TestTheSameFilesGiveTheSameBytes(t *testing.T) {
	pack := func(made time.Time, mode os.FileMode) []byte {
		dir := t.TempDir()
		files := map[string]string{}
		for _, name := range []string{"b", "a", "c"} {
			file := filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(file, []byte(name), mode))
			require.NoError(t, os.Chmod(file, mode))
			require.NoError(t, os.Chtimes(file, made, made))
			files[".kit/"+name] = file
		}
		var b bytes.Buffer
		require.NoError(t, Write(&b, files))
		return b.Bytes()
	}
	first := pack(time.Unix(1e9, 0), 0o700)
	require.Equal(t, first, pack(time.Now(), 0o775))
	require.NotEqual(t, first, pack(time.Now(), 0o600), "an executable stays one")

	z, err := gzip.NewReader(bytes.NewReader(first))
	require.NoError(t, err)
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		names = append(names, h.Name)
	}
	require.Equal(t, []string{".kit/a", ".kit/b", ".kit/c"}, names)
}

// TestTheModulesAreThoseOfGoMod: each module that go.mod requires, and what was
// in the user's cache is not fetched.
func TestTheModulesAreThoseOfGoMod(t *testing.T) {
	t.Chdir("../..")
	t.Setenv("GOPROXY", "off") // what the cache has must be enough: the tests were built from it
	files, err := Modules(t.TempDir())
	require.NoError(t, err)
	for _, module := range []string{"github.com/stretchr/testify", "github.com/vishvananda/netlink", "golang.org/x/sys"} {
		found := false
		for name := range files {
			ok, err := filepath.Match("cache/download/"+module+"/@v/*.zip", name)
			require.NoError(t, err)
			found = found || ok
		}
		require.True(t, found, module)
	}
}
