package expiry

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A member that was held up has its connections closed before it has contact again, even
// if nobody had the time to notice.
func TestContactAfterAPause(t *testing.T) {
	now, alone, lost := time.Duration(0), false, 0
	var c *Contact
	c = NewContact(second, func() bool { return alone }, func() {
		require.False(t, c.Is(now), "before there is contact again")
		lost++
	})
	c.Look(now)
	require.Zero(t, lost, "there was none")
	c.Confirm(now, 0)
	require.True(t, c.Is(now))
	now = second - 1
	c.Look(now)
	require.True(t, c.Is(now))
	c.Confirm(now, second/2)
	now = 30 * second
	require.False(t, c.Is(now))
	c.Confirm(now, now)
	require.Equal(t, 1, lost)
	require.True(t, c.Is(now))
	c.Look(now)
	require.Equal(t, 1, lost)

	now += second
	c.Look(now)
	c.Look(now)
	require.Equal(t, 2, lost, "once")
	c.Confirm(now, now-second) // which was long under way
	require.False(t, c.Is(now))
	c.Confirm(now, now)
	require.Equal(t, 2, lost)

	alone, now = true, now+time.Minute
	c.Look(now)
	c.Confirm(now, now)
	require.Equal(t, 2, lost, "who is alone knows all")

	now += time.Minute
	c.Look(now)
	alone = false
	c.Look(now)
	require.Equal(t, 3, lost, "and does not when there is somebody else")
	alone = true
	c.Confirm(now, now-time.Minute)
	alone = false
	c.Look(now)
	require.Equal(t, 4, lost)
}
