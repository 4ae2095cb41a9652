"""The four stages and their small companions, one public function each."""
