package archtest

import "flag"

// update makes the tests named TestGenerated… write what they would compare.
var update = flag.Bool("update", false, "write generated sections instead of comparing them")
