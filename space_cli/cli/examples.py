"""Command lines that the help of each command ends with; its page in `docs/commands` has them, too."""

EXAMPLES = {
    "index": ("space index ./pool", "space index ./pool --dry-run"),
    "select": (
        'space select "Donald Trump"',
        'space select "red panda" --alias firefox --kind animal --model ./llava-1.5-7b-hf',
    ),
    "erase": (
        'space erase --concept "red panda" --model ./llava --dry-run',
        'space erase --concept "Donald Trump" --alias Trump --model llava-hf/llava-1.5-7b-hf --pool ./pool',
        'space erase --concept "red panda" --concept koala --model ./llava',
    ),
    "audit": (
        "space audit --images ./probe",
        "space audit --images ./probe --attacks jailbreak,quantize",
        "space audit ./llava-without-trump --images ./probe --policy ./policy.toml --out ./audit",
    ),
    "demo": ("space demo", "space demo --concept strawberry --seed 1"),
    "doctor": ("space doctor", "space doctor --json"),
    "list": ("space list methods", "space list metrics --json"),
    "show": ("space show .space/anchors", "space show .space/erased --json"),
    "verify": (
        "space verify .space/audit",
        "space verify ./audit --signature ./audit.sig --public-key key.pub.pem",
        "space verify ./llava-without-trump --input checkpoint=./llava-1.5-7b-hf",
    ),
    "sign": ("space sign .space/audit --private-key key.pem",),
    "pseudonymize": ("space pseudonymize .space/erased --out ./shared --pseudonym-key-file pseudonym.key",),
    "revert": ("space revert .space/erased ./restored", "space revert .space/erased ./restored --approximate"),
}


def shown(command: str) -> str:
    """Return the examples of a command, one a line; the help joins lines that no empty one parts."""
    return "\n\n".join(("Examples:", *(f"$ {line}" for line in EXAMPLES[command])))
