package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// wordList holds the words of our trade, one a line, which no dictionary has.
const wordList = "testdata/words.txt"

// TestSpelling asks hunspell about the prose of the texts and of the hints.
func TestSpelling(t *testing.T) {
	if err := exec.Command("hunspell", "-d", "en_US", "-D").Run(); err != nil {
		t.Skip("no spelling is checked without hunspell: sudo apt-get install hunspell hunspell-en-us")
	}
	hints, err := filepath.Glob(root + "/harness/hints/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, hints)
	files := slices.Clone(Files)
	for _, path := range hints {
		files = append(files, strings.TrimPrefix(path, root+"/"))
	}
	used := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(root + "/" + file)
		require.NoError(t, err)
		lines := prose(string(text))
		for _, word := range misspelt(t, strings.Join(lines, "\n"), "") {
			used[strings.ToLower(word)] = true
		}
		for _, word := range misspelt(t, strings.Join(lines, "\n"), wordList) {
			at := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, word) })
			t.Errorf("%s:%d: %q is misspelt, or belongs in harness/docs/%s", file, at+1, word, wordList)
		}
	}
	list, err := os.ReadFile(wordList)
	require.NoError(t, err)
	for word := range strings.FieldsSeq(string(list)) {
		if !used[strings.ToLower(word)] {
			t.Errorf("%s lists %q, which no text has: remove it", wordList, word)
		}
	}
}

// TestSpellingNotices is the control.
func TestSpellingNotices(t *testing.T) {
	require.Equal(t, "see  of a  and  in", readable("see `mnt` of a [](https://a.b/c) and pivot_root(2) in 03-mount"))
	if exec.Command("hunspell", "-d", "en_US", "-D").Run() == nil {
		require.Equal(t, []string{"mispelt"}, misspelt(t, "This is mispelt, and `thsi` is code.", ""))
	}
}

// notWords are code, links, manual pages, and names with signs or digits in them.
var notWords = []*regexp.Regexp{
	code, tag, regexp.MustCompile(`\]\([^)]*\)`), regexp.MustCompile(`\S+\([0-9]\w*\)`), regexp.MustCompile(`\S*[_/0-9=<>|~]\S*`),
}

// readable leaves out of a text what is no language.
func readable(text string) string {
	for _, not := range notWords {
		text = not.ReplaceAllString(text, "")
	}
	return strings.TrimSpace(strings.NewReplacer("[", "", "]", "", "*", "").Replace(text))
}

// misspelt are the words of a text that neither the dictionary nor the list has.
func misspelt(t *testing.T, text, list string) []string {
	args := []string{"-l", "-d", "en_US"}
	if list != "" {
		args = append(args, "-p", list)
	}
	cmd := exec.Command("hunspell", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	cmd.Stdin = strings.NewReader(readable(text))
	out, err := cmd.Output()
	require.NoError(t, err)
	words := strings.Fields(string(out))
	slices.Sort(words)
	return slices.Compact(words)
}
