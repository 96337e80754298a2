package zksnap

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// What java.util.Random of Java 17 gives for these ids.
func TestPasswordIsJavas(t *testing.T) {
	for id, want := range map[core.LeaseID]string{
		72060129139818496: "ad5d8e873682d8cdd3c0f4af6ff49922",
		1:                 "054cc74a37327db215e702e20c73f005",
		-5:                "d47144b5e45e45c49c3b7fdcd66257ba",
	} {
		p := Password(id)
		require.Equal(t, want, hex.EncodeToString(p[:]))
	}
}
