package server

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHashFileTellsContentsApart(t *testing.T) {
	one, other := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "other")
	require.NoError(t, os.WriteFile(one, []byte("abc"), 0o600))
	require.NoError(t, os.WriteFile(other, []byte("abd"), 0o600))
	hash, err := HashFile(one)
	require.NoError(t, err)
	require.Equal(t, "ba7816bf8f01cfea", hash, "the first digits of the SHA-256 of abc, FIPS 180-2 B.1")
	another, err := HashFile(other)
	require.NoError(t, err)
	require.NotEqual(t, hash, another)
	_, err = HashFile(t.TempDir() + "/missing")
	require.ErrorIs(t, err, os.ErrNotExist)
}
