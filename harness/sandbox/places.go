package sandbox

// places are ordered by what an accident could reach: a virtual machine
// nothing, a container little, a box on this machine its kernel; as an ordinary
// user less is reached, but not everything can be tested.
var places = []Place{vm{}, container{}, host{}, user{}}
