package kit

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
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

// TestTheModulesAreThoseOfGoMod: each module that go.mod requires, and what is
// in the user's cache is not fetched. The module and the cache are made here:
// the real cache need not have all that go.mod lists.
func TestTheModulesAreThoseOfGoMod(t *testing.T) {
	cache := t.TempDir()
	const needed, version = "example.com/needed", "v1.2.3"
	base := "cache/download/" + needed + "/@v/" + version
	put := func(file, content string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
	}
	put(filepath.Join(cache, base+".info"), `{"Version":"`+version+`"}`)
	put(filepath.Join(cache, base+".mod"), "module "+needed+"\n")
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	w, err := z.Create(needed + "@" + version + "/needed.go")
	require.NoError(t, err)
	_, err = io.WriteString(w, "package needed\n")
	require.NoError(t, err)
	require.NoError(t, z.Close())
	put(filepath.Join(cache, base+".zip"), packed.String())

	t.Chdir(t.TempDir())
	put("go.mod", "module main\nrequire "+needed+" "+version+"\n")
	t.Setenv("GOMODCACHE", cache)
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOSUMDB", "off") // which knows no such module
	files, err := Modules(t.TempDir())
	require.NoError(t, err)
	require.Equal(t, []string{base + ".info", base + ".mod", base + ".zip", base + ".ziphash"},
		slices.Sorted(maps.Keys(files)))
}
