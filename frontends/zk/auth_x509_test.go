package zk

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A4: names of certificates are printed as Java prints them, of many kinds, lengths and
// encodings.
func TestSubjectNameAsJava(t *testing.T) {
	text, err := os.ReadFile("testdata/x500names.txt")
	require.NoError(t, err)
	checked := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		coded, quoted, ok := strings.Cut(line, "\t")
		require.True(t, ok)
		der, err := hex.DecodeString(coded)
		require.NoError(t, err)
		var want string
		require.NoError(t, json.Unmarshal([]byte(quoted), &want))
		got, ok := subjectName(der)
		require.True(t, ok, coded)
		require.Equal(t, want, got, coded)
		checked++
	}
	require.Greater(t, checked, 400)
}

func FuzzSubjectName(f *testing.F) {
	f.Add([]byte("0\x00"))
	f.Add([]byte("\x30\x11\x31\x0f\x30\x0d\x06\x03\x55\x04\x03\x0c\x06client"))
	f.Fuzz(func(t *testing.T, der []byte) {
		name, ok := subjectName(der)
		if !ok {
			require.Empty(t, name)
		}
	})
}
