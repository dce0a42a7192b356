package doctor

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnEngineIsKnownByTheCgroupOfProcess1(t *testing.T) {
	require.Equal(t, "docker", kindInCgroup("0::/docker/4f2c"))
	require.Equal(t, "kubernetes", kindInCgroup("4:memory:/kubepods/besteffort/pod1"))
	require.Empty(t, kindInCgroup("0::/init.scope"))
}
